package.path = "./?.lua;./test/?.lua;" .. package.path
local cage, tap = require "cage", require "tap"
local case, equal = tap.case, tap.equal

case("a read-only table can be read", function()
  equal(cage.readonly({ answer = 42 }).answer, 42)
end)

case("a read-only table cannot be written", function()
  tap.raises("cannot set 'answer'", function() cage.readonly({}).answer = 1 end)
end)

case("names are found by their path", function()
  equal(cage.resolve(_G, "string.upper"), string.upper)
  equal(cage.resolve(_G, "type"), type)
end)

case("an unknown name cannot be allowed", function()
  tap.raises("there is no such thing", function() cage.new { allow = { "string.shout" } } end)
end)

case("picking keeps the rest of a library out", function()
  local picked = cage.pick(_G, { "string.upper" })
  equal(picked.string.upper, string.upper)
  equal(picked.string.rep, nil)
end)

case("an environment has its own globals in front", function()
  local environment = cage.new({ allow = { "type" } }):environment { type = "mine" }
  equal(environment.type, "mine")
end)

case("an endless loop is stopped", function()
  local box = cage.new { steps = 1000 }
  local ok, message = box:limited(function() while true do end end)
  equal(ok, false)
  equal(message:find("step limit", 1, true) ~= nil, true)
end)

case("source that does not parse is an answer, not an error", function()
  equal(cage.new():run("return return"), false)
end)

case("precompiled code is refused", function()
  local _, message = cage.new():run(string.dump(function() end))
  equal(message, "precompiled code is refused")
end)

case("code sees what it is allowed", function()
  local ok, result = cage.new({ allow = { "string.upper" } }):run("return string.upper(name)", { name = "ada" })
  equal(ok, true)
  equal(result, "ADA")
end)

case("code does not see the rest", function()
  local ok, result = cage.new():run("return os")
  equal(ok, true)
  equal(result, nil)
end)

case("globals of a run stay in the run", function()
  local box = cage.new()
  equal(box:run("leak = 1"), true)
  equal(rawget(_G, "leak"), nil)
  local _, second = box:run("return leak")
  equal(second, nil)
end)

tap.run()
