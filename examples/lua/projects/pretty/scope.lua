--- Finds out which names of a token list are locals and which are globals.

local scope = {}

--- Every name that follows `local` (functions included), as a set.
local function declared(tokens)
  local names, i = {}, 1
  while i <= #tokens do
    if tokens[i].text == "local" then
      i = i + 1
      if tokens[i] and tokens[i].text == "function" then i = i + 1 end
      while tokens[i] and tokens[i].kind == "name" do
        names[tokens[i].text] = true
        if not (tokens[i + 1] and tokens[i + 1].text == ",") then break end
        i = i + 2
      end
    end
    i = i + 1
  end
  return names
end

--- The sorted names of the globals that are used. Fields (`a.b`, `a:b`) are not globals.
function scope.globals(tokens)
  local own = declared(tokens)
  local global, seen = {}, {}
  for i, token in ipairs(tokens) do
    local before = tokens[i - 1] and tokens[i - 1].text
    local field = before == "." or before == ":"
    if token.kind == "name" and not field and not own[token.text] and not seen[token.text] then
      seen[token.text] = true
      global[#global + 1] = token.text
    end
  end
  table.sort(global)
  return global
end

return scope
