--- Fills in templates: {{name}} is escaped for HTML, {{{name}}} is not, {{#list}}...{{/list}} repeats.
--
--   template.render("Hello {{name}}!", { name = "Ada" })

local template = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function template.escape(text)
  return (tostring(text):gsub("[&<>\"']", ENTITIES))
end

--- Looks up "a.b.c" in a chain of views, the innermost first.
local function lookup(views, path)
  if path == "." then return views[#views] end
  for i = #views, 1, -1 do
    local value = views[i]
    for name in path:gmatch("[^.]+") do
      value = type(value) == "table" and value[name]
      if value == nil or value == false then break end
    end
    if value ~= nil and value ~= false then return value end
  end
  return nil
end

--- The next tag after `at`: where it starts and ends, its sign ("#", "/", "^", "{", "") and its name.
local function next_tag(text, at)
  local first, last, raw = text:find("{{{%s*([%w_.]+)%s*}}}", at)
  local first2, last2, sign, name = text:find("{{([#/^!]?)%s*([^{}]-)%s*}}", at)
  if first and (not first2 or first <= first2) then return first, last, "{", raw end
  return first2, last2, sign, name
end

--- A tree of plain strings, values and sections.
local function parse(text)
  local root = { nodes = {} }
  local open, at = { root }, 1
  local function add(node)
    local nodes = open[#open].nodes
    nodes[#nodes + 1] = node
  end
  while at <= #text do
    local first, last, sign, name = next_tag(text, at)
    add { kind = "text", text = text:sub(at, (first or #text + 1) - 1) }
    if not first then break end
    if sign == "#" or sign == "^" then
      local section = { kind = sign == "#" and "section" or "inverted", name = name, nodes = {} }
      add(section)
      open[#open + 1] = section
    elseif sign == "/" then
      if open[#open].name ~= name then error("{{/" .. name .. "}} closes nothing that is open", 0) end
      open[#open] = nil
    elseif sign ~= "!" then
      add { kind = sign == "{" and "raw" or "value", name = name }
    end
    at = last + 1
  end
  if #open > 1 then error("{{#" .. open[#open].name .. "}} is never closed", 0) end
  return root.nodes
end

local render

local function section(node, views, out)
  local value = lookup(views, node.name)
  local items = type(value) == "table" and (#value > 0 or next(value) == nil) and value or { value }
  for _, item in ipairs(items) do
    views[#views + 1] = item
    render(node.nodes, views, out)
    views[#views] = nil
  end
end

function render(nodes, views, out)
  for _, node in ipairs(nodes) do
    if node.kind == "text" then
      out[#out + 1] = node.text
    elseif node.kind == "section" then
      section(node, views, out)
    elseif node.kind == "inverted" then
      local value = lookup(views, node.name)
      if value == nil or type(value) == "table" and next(value) == nil then render(node.nodes, views, out) end
    else
      local value = lookup(views, node.name)
      value = value == nil and "" or tostring(value)
      out[#out + 1] = node.kind == "raw" and value or template.escape(value)
    end
  end
end

--- The filled-in text. A malformed template is an error.
function template.render(text, view)
  local out = {}
  render(parse(text), { view or {} }, out)
  return table.concat(out)
end

return template
