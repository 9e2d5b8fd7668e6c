--- Reads and writes comma-separated values as RFC 4180 defines them.
--
--   for _, row in ipairs(csv.parse(text)) do print(row[1], row[2]) end

local csv = {}

--- One quoted field that starts at `at`: its text and the position after it.
local function quoted(text, at)
  local parts = {}
  at = at + 1
  while true do
    local close = text:find('"', at, true)
    if not close then error("a quoted field does not end", 0) end
    parts[#parts + 1] = text:sub(at, close - 1)
    if text:sub(close + 1, close + 1) ~= '"' then return table.concat(parts), close + 1 end
    parts[#parts + 1] = '"'
    at = close + 2
  end
end

--- One field that starts at `at`. It may be empty, and may start at the very end of the text.
local function field(text, at, separator)
  if text:sub(at, at) == '"' then return quoted(text, at) end
  local first, last = text:find("^[^" .. separator .. "\r\n]*", at)
  if not first then return nil, at end
  return text:sub(first, last), last + 1
end

--- A list of rows, each a list of strings.
function csv.parse(text, separator)
  separator = separator or ","
  local rows, row, at = {}, {}, 1
  while at <= #text do
    local value
    value, at = field(text, at, separator)
    row[#row + 1] = value
    local char = text:sub(at, at)
    if char == separator then
      at = at + 1
      -- After a separator there is one more field, even at the end of the text.
      if at > #text then row[#row + 1] = field(text, at, separator) end
    elseif char == "\r" or char == "\n" then
      at = at + (text:sub(at, at + 1) == "\r\n" and 2 or 1)
      rows[#rows + 1], row = row, {}
    elseif char ~= "" then
      error(("expected a separator at byte %d"):format(at), 0)
    end
  end
  if #row > 0 then rows[#rows + 1] = row end
  return rows
end

--- Rows as tables whose keys are the names in the first row.
function csv.records(text, separator)
  local rows = csv.parse(text, separator)
  local records, head = {}, rows[1] or {}
  for i = 2, #rows do
    local record = {}
    for column, name in ipairs(head) do record[name] = rows[i][column] end
    records[#records + 1] = record
  end
  return records
end

local function quote(value, separator)
  value = tostring(value)
  if value:find('["\r\n]') or value:find(separator, 1, true) then
    return '"' .. value:gsub('"', '""') .. '"'
  end
  return value
end

function csv.format(rows, separator)
  separator = separator or ","
  local lines = {}
  for i, row in ipairs(rows) do
    local fields = {}
    for j, value in ipairs(row) do fields[j] = quote(value, separator) end
    lines[i] = table.concat(fields, separator) .. "\r\n"
  end
  return table.concat(lines)
end

return csv
