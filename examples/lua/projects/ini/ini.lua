--- Reads settings: [sections], key = value, comments after ; or #.
--
--   local settings = ini.parse("[mail]\nport = 25\n")
--   print(settings.mail.port)

local ini = {}

local function trim(text)
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

--- Reads booleans and numbers as such, anything else as a string. Text in quotes is always a string.
function ini.value(text)
  if text == "true" or text == "yes" then return true end
  if text == "false" or text == "no" then return false end
  local inner = #text > 1 and text:match('^"(.*)"$')
  if inner then return inner end
  return tonumber(text) or text
end

--- Settings by section; those before the first section are in the section "".
function ini.parse(text)
  local settings, section, number = { [""] = {} }, "", 0
  for raw in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    local line = trim(raw:gsub("^%s*[;#].*", ""))
    local name = #line > 0 and line:match("^%[([^%]]+)%]$")
    local key, value
    if #line > 0 then key, value = line:match("^([^=]-)%s*=%s*(.*)$") end
    if name then
      section = name
      settings[section] = settings[section] or {}
    elseif key and key ~= "" then
      settings[section][key] = ini.value(value)
    elseif #line > 0 then
      error(("line %d: expected [section] or key = value"):format(number), 0)
    end
  end
  return settings
end

return ini
