-- Adds to what a call used, or takes from it. KEYS: its counter. ARGV: the number of its window, calls, bytes.
local most = 2 ^ 53
local kept = redis.call('HMGET', KEYS[1], 'window', 'calls', 'bytes')
if kept[1] and tonumber(kept[1]) == tonumber(ARGV[1]) then
  local calls = math.max(0, math.min(most, tonumber(kept[2]) + tonumber(ARGV[2])))
  local bytes = math.max(0, math.min(most, tonumber(kept[3]) + tonumber(ARGV[3])))
  redis.call('HSET', KEYS[1], 'calls', calls, 'bytes', bytes)
end
return 0
