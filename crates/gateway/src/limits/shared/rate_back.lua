-- Gives a call back. KEYS: its counter. ARGV: the second that it was counted in, and how much.
local made = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '')
if made then
  redis.call('HINCRBY', KEYS[1], ARGV[1], -math.min(made, tonumber(ARGV[2])))
end
return 0
