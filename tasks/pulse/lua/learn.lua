-- Add quantities to the sketches of a model, each of which fades by what it learns: what `Sketch.with_one` does, but of
-- what stands here at this moment.
--   KEYS[1]  the model's sketches (hash: name -> JSON {n: quantities learned, s: surprises in a row, w: {bin: weight}})
--   ARGV[1]  JSON list of {name, {bin: weight to add}}    ARGV[2]  share that is kept of each weight    ARGV[3]  weight
--   below which a bin is forgotten    ARGV[4]  weight below which nothing is a surprise    ARGV[5]  share of the weight
--   beyond which a quantity is one    ARGV[6]  so many in a row count    ARGV[7]  weight that they leave
-- Returns nothing. Atomic because two lanes may learn at once. What can't be read is begun anew.
local keep, least, certain = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local surprising, streak, left_over = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local function read(text)
  local readable, sketch = pcall(cjson.decode, text or '')
  if not readable or type(sketch) ~= 'table' or type(sketch.w) ~= 'table' then sketch = {w = {}} end
  local weights, total = {}, 0
  for bin, weight in pairs(sketch.w) do
    if tonumber(bin) and type(weight) == 'number' then
      weights[bin] = weight
      total = total + weight
    end
  end
  return {n = tonumber(sketch.n) or 0, s = tonumber(sketch.s) or 0, w = weights, total = total}
end

local function add(sketch, shares)
  local lowest, highest = math.huge, -math.huge
  for bin in pairs(shares) do
    lowest, highest = math.min(lowest, tonumber(bin)), math.max(highest, tonumber(bin))
  end
  local above, below = 0, 0
  for bin, weight in pairs(sketch.w) do
    if tonumber(bin) >= lowest then above = above + weight end
    if tonumber(bin) <= highest then below = below + weight end
  end
  if sketch.total >= certain and above < surprising * sketch.total then
    sketch.s = math.max(sketch.s, 0) + 1
  elseif sketch.total >= certain and below < surprising * sketch.total then
    sketch.s = math.min(sketch.s, 0) - 1
  else
    sketch.s = 0
  end
  local kept = keep
  if math.abs(sketch.s) >= streak then kept, sketch.s = math.min(keep, left_over / sketch.total), 0 end
  local weights, total = {}, 0
  for bin, weight in pairs(sketch.w) do
    if weight * kept >= least then weights[bin] = weight * kept end
  end
  for bin, share in pairs(shares) do weights[bin] = (weights[bin] or 0) + share end
  for _, weight in pairs(weights) do total = total + weight end
  sketch.n, sketch.w, sketch.total = sketch.n + 1, weights, total
end

local deposits = cjson.decode(ARGV[1])
local names, sketches = {}, {}
for _, deposit in ipairs(deposits) do
  if not sketches[deposit[1]] then
    names[#names + 1] = deposit[1]
    sketches[deposit[1]] = true
  end
end
for i, text in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do sketches[names[i]] = read(text) end
for _, deposit in ipairs(deposits) do add(sketches[deposit[1]], deposit[2]) end
local fields = {}
for _, name in ipairs(names) do
  local sketch = sketches[name]
  for bin, weight in pairs(sketch.w) do sketch.w[bin] = math.floor(weight * 10000 + 0.5) / 10000 end
  fields[#fields + 1] = name
  fields[#fields + 1] = cjson.encode({n = sketch.n, s = sketch.s, w = sketch.w})
end
redis.call('HSET', KEYS[1], unpack(fields))
