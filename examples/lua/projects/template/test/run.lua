package.path = "./?.lua;./test/?.lua;" .. package.path
local template, tap = require "template", require "tap"
local render, case, equal = template.render, tap.case, tap.equal

case("a name is filled in", function()
  equal(render("Hello {{name}}!", { name = "Ada" }), "Hello Ada!")
end)

case("a missing name is empty", function()
  equal(render("[{{name}}]"), "[]")
end)

case("values are escaped", function()
  equal(render("{{x}}", { x = "<a & 'b'>" }), "&lt;a &amp; &#39;b&#39;&gt;")
end)

case("three braces do not escape", function()
  equal(render("{{{x}}}", { x = "<b>" }), "<b>")
end)

case("a path leads into tables", function()
  equal(render("{{user.name}}", { user = { name = "Ada" } }), "Ada")
end)

case("a list repeats its section", function()
  equal(render("{{#items}}<{{.}}>{{/items}}", { items = { "a", "b" } }), "<a><b>")
end)

case("a list of tables gives names", function()
  local view = { people = { { name = "Ada" }, { name = "Alan" } }, sep = ";" }
  equal(render("{{#people}}{{name}}{{sep}}{{/people}}", view), "Ada;Alan;")
end)

case("a section over nothing is left out", function()
  equal(render("a{{#no}}b{{/no}}c", {}), "ac")
end)

case("an inverted section shows when there is nothing", function()
  equal(render("{{^items}}none{{/items}}", { items = {} }), "none")
  equal(render("{{^items}}none{{/items}}", { items = { 1 } }), "")
end)

case("comments vanish", function()
  equal(render("a{{! nobody reads this }}b"), "ab")
end)

case("a section that is never closed is an error", function()
  tap.raises("never closed", function() render("{{#a}}") end)
end)

case("a wrong close is an error", function()
  tap.raises("closes nothing", function() render("{{#a}}{{/b}}") end)
end)

-- The suite skips itself on other versions, as real suites do, until somebody has tried them.
local LOOKED_AT = { ["Lua 5.1"] = true, ["Lua 5.2"] = true, ["Lua 5.3"] = true, ["Lua 5.4"] = true }
tap.run(not LOOKED_AT[_VERSION] and "not yet looked at with " .. _VERSION or nil)
