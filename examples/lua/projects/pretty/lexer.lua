--- Splits Lua source into tokens, each with kind, text and line.

local lexer = {}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function if in local nil not or repeat return then true
               until while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end

-- Tried in order; each pattern is anchored at the end of the last token.
local RULES = {
  { "comment", "^%-%-[^\n]*" },
  { "space", "^%s+" },
  { "name", "^[%a_][%w_]*" },
  { "number", "^0[xX]%x+" },
  { "number", "^%d+%.?%d*" },
  { "operator", "^%.%.%." },
  { "operator", "^%.%." },
  { "operator", "^[=~<>]=" },
  { "operator", "^[-+*/%%^#=<>(){};:,.]" },
  { "operator", "^[%[%]]" },
}

--- The position at which the string that starts at `from` ends. An escaped quote does not end it.
local function string_end(source, from)
  local quote, at = source:sub(from, from), from + 1
  while at <= #source do
    local char = source:sub(at, at)
    if char == quote then return at end
    if char == "\n" then break end
    at = at + (char == "\\" and 2 or 1)
  end
  return nil
end

local function match(source, at)
  if source:find("^[\"']", at) then
    local last = string_end(source, at)
    if last then return "string", last end
    return nil
  end
  for _, rule in ipairs(RULES) do
    local _, last = source:find(rule[2], at)
    if last then
      if rule[1] == "name" and KEYWORDS[source:sub(at, last)] then return "keyword", last end
      return rule[1], last
    end
  end
  return nil
end

--- The list of tokens, without white space.
function lexer.tokens(source)
  local tokens, at, line = {}, 1, 1
  while at <= #source do
    local kind, last = match(source, at)
    if not kind then error(("line %d: unexpected %q"):format(line, source:sub(at, at)), 2) end
    local text = source:sub(at, last)
    if kind ~= "space" then tokens[#tokens + 1] = { kind = kind, text = text, line = line } end
    for _ in text:gmatch("\n") do line = line + 1 end
    at = last + 1
  end
  return tokens
end

return lexer
