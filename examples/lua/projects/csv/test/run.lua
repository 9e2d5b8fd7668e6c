package.path = "./?.lua;./test/?.lua;" .. package.path
local csv, tap = require "csv", require "tap"
local case, equal = tap.case, tap.equal

--- All rows as one line: fields in <>, rows joined by /.
local function picture(text, separator)
  local rows = {}
  for i, row in ipairs(csv.parse(text, separator)) do
    rows[i] = "<" .. table.concat(row, "><") .. ">"
  end
  return table.concat(rows, "/")
end

case("fields are split at commas", function()
  equal(picture("a,b,c\n"), "<a><b><c>")
end)

case("rows end with any kind of line end", function()
  equal(picture("a\nb\r\nc"), "<a>/<b>/<c>")
end)

case("nothing has no rows", function()
  equal(#csv.parse(""), 0)
end)

case("a field may be empty", function()
  equal(picture(",a,,b\n"), "<><a><><b>")
end)

case("an empty field may end a row", function()
  equal(picture("a,b,\nc,d,\n"), "<a><b><>/<c><d><>")
end)

case("an empty field may end the text", function()
  equal(picture("a,b,"), "<a><b><>")
end)

case("quotes keep separators and line ends", function()
  equal(picture('"a,b","c\nd"\n'), "<a,b><c\nd>")
end)

case("two quotes in quotes are one", function()
  equal(picture('"say ""hi"""\n'), '<say "hi">')
end)

case("a quoted field must end", function()
  tap.raises("does not end", function() csv.parse('"abc') end)
end)

case("text behind a quoted field is an error", function()
  tap.raises("expected a separator at byte 4", function() csv.parse('"a"b') end)
end)

case("another separator can be asked for", function()
  equal(picture("a;b,c\n", ";"), "<a><b,c>")
end)

case("records have the names of the first row", function()
  local records = csv.records("name,born\nAda,1815\nAlan,1912\n")
  equal(#records, 2)
  equal(records[2].born, "1912")
end)

case("what is written reads back", function()
  local text = csv.format { { "plain", "with, comma", 'with "quotes"' }, { "two\nlines", "", "end" } }
  equal(csv.format(csv.parse(text)), text)
end)

tap.run()
