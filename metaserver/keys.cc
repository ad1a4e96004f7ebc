// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/keys.h"

#include <kj/debug.h>
#include <string.h>

namespace cairn {

void Key::append(kj::StringPtr text) {
  KJ_REQUIRE(text.size() <= SIZE_MAX_BYTES - length, "a key's text is too long", text.size());
  memcpy(bytes + length, text.begin(), text.size());
  length += text.size();
}

uint64_t KeyReader::number() {
  KJ_REQUIRE(rest.size() >= 8, "a key of the namespace store is too short");
  uint64_t result = 0;
  for (int i = 0; i < 8; ++i) result = result << 8 | static_cast<uint8_t>(rest[i]);
  skip(8);
  return result;
}

uint64_t placeOf(const ClusterId& cluster, kj::StringPtr name) {
  constexpr uint64_t MASK = (uint64_t(1) << 60) - 1;
  uint64_t hash = sipHash(cluster.high, cluster.low, name.asArray()) & MASK;
  return kj::max(hash, COOKIE_MIN / SLOTS_PER_HASH) * SLOTS_PER_HASH;
}

namespace {
uint64_t rotate(uint64_t value, int bits) {
  return value << bits | value >> (64 - bits);
}

struct SipState {
  uint64_t v0, v1, v2, v3;
  void round() {
    v0 += v1, v1 = rotate(v1, 13) ^ v0, v0 = rotate(v0, 32);
    v2 += v3, v3 = rotate(v3, 16) ^ v2;
    v0 += v3, v3 = rotate(v3, 21) ^ v0;
    v2 += v1, v1 = rotate(v1, 17) ^ v2, v2 = rotate(v2, 32);
  }
  void take(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};
}  // namespace

uint64_t sipHash(uint64_t key0, uint64_t key1, kj::ArrayPtr<const char> data) {
  SipState state{key0 ^ 0x736f6d6570736575, key1 ^ 0x646f72616e646f6d, key0 ^ 0x6c7967656e657261,
                 key1 ^ 0x7465646279746573};
  size_t whole = data.size() / 8 * 8;
  for (size_t at = 0; at < whole; at += 8) {
    uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word |= uint64_t(uint8_t(data[at + i])) << (8 * i);
    state.take(word);
  }
  uint64_t last = uint64_t(data.size()) << 56;
  for (size_t i = whole; i < data.size(); ++i) last |= uint64_t(uint8_t(data[i])) << (8 * (i - whole));
  state.take(last);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace cairn
