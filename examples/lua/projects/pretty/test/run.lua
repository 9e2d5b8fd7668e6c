package.path = "./?.lua;./test/?.lua;" .. package.path
local lexer, pretty, tap = require "lexer", require "pretty", require "tap"
local case, equal = tap.case, tap.equal

local function kinds(source)
  local list = {}
  for i, token in ipairs(lexer.tokens(source)) do list[i] = token.kind end
  return table.concat(list, " ")
end

case("names and keywords are told apart", function()
  equal(kinds("local ending end"), "keyword name keyword")
end)

case("numbers may be hexadecimal", function()
  equal(kinds("0xFF 3.25 7"), "number number number")
end)

case("a quote in a string may be escaped", function()
  equal(lexer.tokens([[x = "a\"b" y]])[3].text, [["a\"b"]])
end)

case("a string that does not end is an error", function()
  tap.raises("line 2: unexpected", function() lexer.tokens("x = 1\ny = 'abc\n") end)
end)

case("tokens know their line", function()
  equal(lexer.tokens("a\n\nb")[2].line, 3)
end)

case("comments end with their line", function()
  equal(kinds("x -- y z\nw"), "name comment name")
end)

case("blocks are indented", function()
  equal(pretty.format("if x then\ny()\nelse\nz()\nend"), "if x then\n  y()\nelse\n  z()\nend")
end)

case("space is even", function()
  equal(pretty.format("local   x=f( a ,b)"), "local x = f(a, b)")
end)

case("formatting twice changes nothing more", function()
  local once = pretty.format("function f(a)\nreturn a.b[1]+#c\nend")
  equal(pretty.format(once), once)
end)

case("globals are found and sorted", function()
  equal(table.concat(pretty.globals("print(x, y, x)"), " "), "print x y")
end)

case("locals are no globals", function()
  equal(table.concat(pretty.globals("local a, b = f(); local function g() return a + b end; g()"), " "), "f")
end)

case("fields are no globals", function()
  equal(table.concat(pretty.globals("string.rep(s:upper(), 2)"), " "), "s string")
end)

tap.run()
