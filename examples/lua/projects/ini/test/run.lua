package.path = "./?.lua;./test/?.lua;" .. package.path
local ini, tap = require "ini", require "tap"
local case, equal = tap.case, tap.equal

case("keys are found in their section", function()
  equal(ini.parse("[mail]\nhost = localhost\n").mail.host, "localhost")
end)

case("keys may stand before any section", function()
  equal(ini.parse("name = farm")[""].name, "farm")
end)

case("numbers and switches are read as such", function()
  local settings = ini.parse("port = 25\nretry = yes\n")[""]
  equal(settings.port, 25)
  equal(settings.retry, true)
end)

case("quotes keep a text a text", function()
  equal(ini.parse('port = "25"')[""].port, "25")
end)

case("comments and blank lines are passed over", function()
  equal(ini.parse("; one\n\n# two\r\nkey = value\n")[""].key, "value")
end)

case("a line that is neither is told with its number", function()
  tap.raises("line 3:", function() ini.parse("a = 1\n\nnonsense\n") end)
end)

tap.run()
