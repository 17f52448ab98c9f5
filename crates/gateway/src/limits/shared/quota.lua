-- Counts a call for all of its quotas, or for none, and adds what is owed of calls before it.
-- KEYS: the counters. ARGV: of each the calls and the bytes that there are (-1: without end), the seconds of a window, when the
-- first one began, how much the call counts; and what is owed: the number of its window, calls, bytes.
-- Returns the second, which quota is used up and of what (0; 1: calls, 2: bytes), and of each the sums of calls and bytes.
local now = tonumber(redis.call('TIME')[1])
local most = 2 ^ 53
local used, refused, what = {}, 0, 0
for i, key in ipairs(KEYS) do
  local of = {}
  for j = 1, 8 do of[j] = tonumber(ARGV[8 * (i - 1) + j]) end
  local calls, bytes, period, started, count = of[1], of[2], of[3], of[4], of[5]
  local window = math.floor((now - started) / period)
  local one = { window = window, ends = started + (window + 1) * period, calls = 0, bytes = 0, count = count }
  local kept = redis.call('HMGET', key, 'window', 'calls', 'bytes')
  -- A clock that was put back gives nobody a new window.
  if kept[1] and tonumber(kept[1]) >= window then
    one.calls, one.bytes = tonumber(kept[2]), tonumber(kept[3])
  end
  if of[6] == window then
    one.calls = math.max(0, math.min(most, one.calls + of[7]))
    one.bytes = math.max(0, math.min(most, one.bytes + of[8]))
    one.changed = of[7] ~= 0 or of[8] ~= 0
  end
  if refused == 0 then
    if calls >= 0 and one.calls + count > calls then
      refused, what = i, 1
    elseif bytes >= 0 and one.bytes >= bytes then
      refused, what = i, 2
    end
  end
  used[i] = one
end
local answer = { now, refused, what }
for i, key in ipairs(KEYS) do
  local one = used[i]
  if refused == 0 then
    one.calls = math.min(most, one.calls + one.count)
  end
  if refused == 0 or one.changed then
    redis.call('HSET', key, 'window', one.window, 'calls', one.calls, 'bytes', one.bytes)
    redis.call('EXPIREAT', key, one.ends)
  end
  answer[#answer + 1] = one.calls
  answer[#answer + 1] = one.bytes
end
return answer
