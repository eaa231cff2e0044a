#include "replication/scripts.h"

const char *const ckv_key_suffixes[CKV_KEYS] = {
    "state", "log", "names:0", "names:1", "confirmed", "instances",
};

/*  ARGV: run_id, cluster key id, a new epoch, node id, an epoch to be left or "". Returns what it did,
    then epoch and head; or KEY and the key id that the cluster has.  */
const char ckv_script_open[] =
    "local state = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'key', 'head')\n"
    "if state[3] and state[3] ~= ARGV[2] then return {'KEY', state[3]} end\n"
    "local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)\n"
    "local broken = not state[1] or not state[4] or state[2] ~= ARGV[1] or state[1] == ARGV[5]\n"
    "if not broken and last[1] and last[1][1] ~= state[4] .. '-1' then broken = true end\n"
    "if broken then\n"
    "  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])\n"
    "  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'run', ARGV[1], 'key', ARGV[2],\n"
    "             'head', '0', 'generation', '0')\n"
    "  redis.call('HSET', KEYS[5], ARGV[4], ARGV[3])\n"
    "  return {'NEW', ARGV[3], '0'}\n"
    "end\n"
    "return {'OLD', state[1], state[4]}\n";

/*  ARGV: "reserve", "release" or "append"; epoch; channel; length of the log; owner (node id and
    instance); identity of the certificate (created and created_by); how many names; the names; the
    entries. Returns EPOCH when it is another one, TAKEN, SPOILT when the log has had entries that are
    not ours behind the head, which Redis remembers when they are gone, or the head.  */
const char ckv_script_change[] =
    "local state = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'generation')\n"
    "if state[1] ~= ARGV[2] then return 'EPOCH' end\n"
    "local head, length, owner = tonumber(state[2]), tonumber(ARGV[4]), ARGV[5]\n"
    "local mine, names = owner .. ARGV[6], tonumber(ARGV[7])\n"
    "local generation = math.floor(head / math.max(1, math.floor(length / 2)))\n"
    "local now, before = KEYS[3 + generation % 2], KEYS[3 + (generation + 1) % 2]\n"
    "if tonumber(state[3]) ~= generation then\n"
    "  redis.call('DEL', now)\n"
    "  redis.call('HSET', KEYS[1], 'generation', generation)\n"
    "end\n"
    "local function taken(name)\n"
    "  for _, key in ipairs({now, before}) do\n"
    "    local value = redis.call('HGET', key, name)\n"
    "    if value and value:sub(18) ~= ARGV[6] then\n"
    "      local holder = value:sub(2, 17)\n"
    "      local since = redis.call('HGET', KEYS[6], holder:sub(1, 8))\n"
    "      local void = value:sub(1, 1) == 'p' and since and since ~= holder:sub(9)\n"
    "      if not void then return true end\n"
    "    end\n"
    "  end\n"
    "  return false\n"
    "end\n"
    "for i = 8, 7 + names do\n"
    "  if ARGV[1] == 'release' then\n"
    "    for _, key in ipairs({now, before}) do\n"
    "      if redis.call('HGET', key, ARGV[i]) == 'p' .. mine then\n"
    "        redis.call('HDEL', key, ARGV[i])\n"
    "      end\n"
    "    end\n"
    "  elseif taken(ARGV[i]) then\n"
    "    if ARGV[1] == 'reserve' then return 'TAKEN' end\n"
    "  else\n"
    "    redis.call('HSET', now, ARGV[i], (ARGV[1] == 'append' and 'a' or 'p') .. mine)\n"
    "  end\n"
    "end\n"
    "for i = 8 + names, #ARGV do\n"
    "  head = head + 1\n"
    "  local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4],\n"
    "                            string.format('%.0f-1', head), 'e', ARGV[i])\n"
    "  if type(added) == 'table' and added.err then\n"
    "    local spoilt = added.err:find('equal or smaller') or added.err:find('exhausted')\n"
    "    return spoilt and 'SPOILT' or added\n"
    "  end\n"
    "  redis.call('PUBLISH', ARGV[3], ARGV[2] .. struct.pack('>I8', head) .. ARGV[i])\n"
    "end\n"
    "if #ARGV > 7 + names then\n"
    "  redis.call('HSET', KEYS[1], 'head', string.format('%.0f', head))\n"
    "end\n"
    "return head\n";
