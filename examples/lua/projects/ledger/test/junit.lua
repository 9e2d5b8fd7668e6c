--- Test cases, reported as JUnit XML in a file in $FARM_OUT (or in this folder).

local junit = {}
local cases = {}

function junit.case(name, body)
  cases[#cases + 1] = { name = name, body = body }
end

function junit.equal(got, expected)
  if got ~= expected then
    error(("got <%s>, expected <%s>"):format(tostring(got), tostring(expected)), 2)
  end
end

local function escape(text)
  local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
  return (tostring(text):gsub('[&<>"]', entities):gsub("%c", " "))
end

--- Runs the declared cases, writes the report and exits.
function junit.run(suite)
  local lines, failed = {}, 0
  for _, case in ipairs(cases) do
    local start = os.clock()
    local ok, message = pcall(case.body)
    local head = ('  <testcase classname="%s" name="%s" time="%.6f"')
      :format(escape(suite), escape(case.name), os.clock() - start)
    print((ok and "passed  " or "FAILED  ") .. case.name)
    if ok then
      lines[#lines + 1] = head .. "/>"
    else
      failed = failed + 1
      print("        " .. tostring(message))
      lines[#lines + 1] = ('%s><failure message="%s"/></testcase>'):format(head, escape(message))
    end
  end
  local path = (os.getenv("FARM_OUT") or ".") .. "/" .. suite .. ".xml"
  local file = assert(io.open(path, "w"))
  file:write('<?xml version="1.0" encoding="UTF-8"?>\n',
    ('<testsuite name="%s" tests="%d" failures="%d">\n'):format(escape(suite), #cases, failed),
    table.concat(lines, "\n"), "\n</testsuite>\n")
  assert(file:close())
  os.exit(failed == 0 and 0 or 1)
end

return junit
