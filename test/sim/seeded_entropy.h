// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Randomness from a seed: the only source of chance in the simulator.
// INVARIANT: the same seed gives the same numbers on every machine and compiler (no std:: distribution is
// used). Each process of a simulated cluster has its own, so that one more draw in one does not shift all
// others.
#pragma once

#include <kj/compat/http.h>

#include <cstdint>

namespace cairn::sim {

class SeededEntropy final : public kj::EntropySource {
  // SplitMix64 (Steele, Lea, Flood 2014): passes BigCrush, one word of state, any seed is as good as another.
 public:
  explicit SeededEntropy(uint64_t seed) : state(seed) {}

  uint64_t next() {
    uint64_t word = state += 0x9e3779b97f4a7c15;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
    word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
    return word ^ (word >> 31);
  }

  uint64_t below(uint64_t bound) {
    // 0 to bound - 1. The bias of the remainder is below bound / 2^64.
    return next() % bound;
  }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }  // both included
  bool percent(uint64_t chance) { return below(100) < chance; }

  SeededEntropy fork() { return SeededEntropy(next()); }

  void generate(kj::ArrayPtr<kj::byte> buffer) override {
    for (auto& byte : buffer) byte = kj::byte(next());
  }

 private:
  uint64_t state;
};

}  // namespace cairn::sim
