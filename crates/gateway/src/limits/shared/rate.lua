-- Counts a call under all of its counters, or under none: calls of the seconds that a period goes back.
-- KEYS: the counters. ARGV: of each the calls, the period in seconds, and how much the call counts.
-- Returns the second, and the sums; or the second, which counter has no room, and the seconds until it has.
local now = tonumber(redis.call('TIME')[1])
local sums = {}
for i, key in ipairs(KEYS) do
  local calls, period, count = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local kept, marks, sum = redis.call('HGETALL', key), {}, 0
  for j = 1, #kept, 2 do
    local second, made = tonumber(kept[j]), tonumber(kept[j + 1])
    if second > now then
      -- The clock was put back: what seems later is now, so that it counts no shorter, and not for ever.
      redis.call('HINCRBY', key, now, made)
      redis.call('HDEL', key, kept[j])
      redis.call('EXPIRE', key, period)
      second = now
    end
    if second <= now - period then
      redis.call('HDEL', key, kept[j])
    else
      sum = sum + made
      marks[#marks + 1] = { second, made }
    end
  end
  local over, wait = sum + count - calls, period
  if over > 0 then
    table.sort(marks, function(one, other) return one[1] < other[1] end)
    for _, mark in ipairs(marks) do
      over = over - mark[2]
      if over <= 0 then
        wait = mark[1] + period - now
        break
      end
    end
    return { now, i, wait }
  end
  sums[i] = sum + count
end
for i, key in ipairs(KEYS) do
  redis.call('HINCRBY', key, now, ARGV[3 * i])
  redis.call('EXPIRE', key, ARGV[3 * i - 1])
end
return { now, 0, unpack(sums) }
