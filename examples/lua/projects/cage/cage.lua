--- Runs untrusted code, which sees only what it was given.
--
--   local box = cage.new { allow = { "math.floor", "string.upper" }, steps = 10000 }
--   local ok, result = box:run("return string.upper(name)", { name = "ada" })

local cage = {}
cage.__index = cage

-- Lua 5.2 has no loadstring; its load accepts a string.
local compile = loadstring or load

--- A view of `target` that can be read and not written.
function cage.readonly(target)
  return setmetatable({}, {
    __index = target,
    __newindex = function(_, key)
      error("cannot set '" .. tostring(key) .. "': this table is read-only", 2)
    end,
    __metatable = false,
  })
end

--- Finds "string.upper" in `root`; an unknown name is an error, not a hole.
function cage.resolve(root, path)
  local value = root
  for name in path:gmatch("[^.]+") do
    value = type(value) == "table" and value[name] or nil
    if value == nil then error("cannot allow '" .. path .. "': there is no such thing", 2) end
  end
  return value
end

--- Picks the listed names from `root`; libraries become read-only tables.
function cage.pick(root, allow)
  local picked, libraries = {}, {}
  for _, path in ipairs(allow) do
    local value = cage.resolve(root, path)
    local library, name = path:match("^([^.]+)%.([^.]+)$")
    if library then
      libraries[library] = libraries[library] or {}
      libraries[library][name] = value
    else
      picked[path] = value
    end
  end
  for library, members in pairs(libraries) do picked[library] = cage.readonly(members) end
  return picked
end

function cage.new(options)
  options = options or {}
  return setmetatable({
    allowed = cage.pick(_G, options.allow or {}),
    steps = options.steps or 1000000,
  }, cage)
end

--- The environment of one run: its own globals, then what is allowed.
function cage:environment(globals)
  local environment = setmetatable({}, { __index = self.allowed, __metatable = false })
  for name, value in pairs(globals or {}) do environment[name] = value end
  return environment
end

--- Calls `body` and stops it after `self.steps` instructions.
function cage:limited(body, ...)
  local function stop() error("the step limit is spent", 2) end
  debug.sethook(stop, "", self.steps)
  local ok, result = pcall(body, ...)
  debug.sethook()
  return ok, result
end

--- Runs `source`; returns true and its result, or false and what went wrong.
function cage:run(source, globals)
  if source:sub(1, 1) == "\27" then return false, "precompiled code is refused" end
  local chunk, message = compile(source, "=cage")
  if not chunk then return false, message end
  setfenv(chunk, self:environment(globals))
  return self:limited(chunk)
end

return cage
