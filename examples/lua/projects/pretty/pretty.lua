--- Formats Lua source in one style, and lists the globals that it uses.

local lexer = require "lexer"

local pretty = {}

local OPENS = { ["do"] = true, ["then"] = true, ["repeat"] = true, ["else"] = true, ["function"] = true }
local CLOSES = { ["end"] = true, ["until"] = true, ["else"] = true, ["elseif"] = true }
local TIGHT_BEFORE = { [","] = true, [";"] = true, [")"] = true, ["."] = true, [":"] = true, ["("] = true,
  ["["] = true, ["]"] = true }
local TIGHT_AFTER = { ["("] = true, ["."] = true, [":"] = true, ["["] = true, ["#"] = true }

local function needs_space(before, token)
  if not before or before.line ~= token.line then return false end
  if TIGHT_AFTER[before.text] then return false end
  if token.text == "(" then return before.kind == "keyword" and before.text ~= "function" or before.text == "=" end
  return not TIGHT_BEFORE[token.text]
end

--- The same program, indented by two spaces for each open block.
function pretty.format(source)
  local lines, current, depth, before = {}, nil, 0, nil
  for _, token in ipairs(lexer.tokens(source)) do
    if CLOSES[token.text] and depth > 0 then depth = depth - 1 end
    if not before or before.line ~= token.line then
      if current then lines[#lines + 1] = current end
      current = ("  "):rep(depth)
    elseif needs_space(before, token) then
      current = current .. " "
    end
    current = current .. token.text
    if OPENS[token.text] then depth = depth + 1 end
    before = token
  end
  if current then lines[#lines + 1] = current end
  return table.concat(lines, "\n")
end

--- Names that the program uses but does not declare. Loads `scope` late, since formatting does not need it.
function pretty.globals(source)
  return require("scope").globals(lexer.tokens(source))
end

return pretty
