--- Repeats a call that failed, with growing pauses that differ between clients.
--
--   local ok, result = retry.call(fetch, { attempts = 5, sleep = socket.sleep })
--
-- Clients that lost their connection together would return together, and overload the server again. So each one
-- waits for one of SLOTS fractions of the pause, chosen by its own random generator.

local retry = {}

local SLOTS = 10
local MODULUS = 2147483647

--- A seed from the system's entropy if there is some, else from an address, and from the clock.
local function seed()
  local device = io.open("/dev/urandom", "rb")
  local bytes = device and device:read(4) or tostring({}):reverse():sub(1, 4)
  if device then device:close() end
  local value = os.time()
  for i = 1, #bytes do value = (value * 256 + bytes:byte(i)) % MODULUS end
  return value
end

--- A generator of slots from 1 to SLOTS, after Park and Miller, "Random number generators: good ones are hard
-- to find", 1988.
function retry.jitter(start)
  local state = (start or seed()) % MODULUS
  if state == 0 then state = 1 end
  return function()
    state = state * 16807 % MODULUS
    -- The high digits: the low digits of such a generator are not random.
    return math.floor(state / MODULUS * SLOTS) + 1
  end
end

--- Seconds to wait after attempt `n`: doubled each time, up to `longest`, and multiplied by `slot` / SLOTS.
function retry.pause(n, slot, options)
  options = options or {}
  local full = math.min((options.first or 1) * 2 ^ (n - 1), options.longest or 60)
  return full * slot / SLOTS
end

--- The first slot of each of `clients` new clients.
function retry.slots(clients)
  local slots = {}
  for i = 1, clients do slots[i] = retry.jitter()() end
  return slots
end

--- Returns true, the result of `f` and the number of attempts; or false, the last error and that number.
function retry.call(f, options)
  options = options or {}
  local attempts = options.attempts or 3
  local jitter = retry.jitter(options.seed)
  local ok, result
  for n = 1, attempts do
    ok, result = pcall(f, n)
    if ok then return true, result, n end
    if options.only and not tostring(result):find(options.only, 1, true) then return false, result, n end
    if n < attempts and options.sleep then options.sleep(retry.pause(n, jitter(), options)) end
  end
  return false, result, attempts
end

return retry
