// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See transcript.h.
#include "test/sim/transcript.h"

#include <algorithm>
#include <cstdio>

namespace cairn::sim {

void Transcript::say(kj::StringPtr who, kj::StringPtr what) {
  std::string name = who.cStr();
  name.resize(std::max<size_t>(name.size(), 12), ' ');
  auto line = std::string(seconds(time.elapsed()).cStr()) + " " + name + " " + what.cStr() + "\n";
  for (char letter : line) hash = (hash ^ uint8_t(letter)) * 0x100000001b3;
  ++count;
  if (echoing) std::fputs(line.c_str(), stderr);
  kept.push_back(std::move(line));
  if (kept.size() > KEPT) kept.pop_front();
}

std::string Transcript::last(size_t lines) const {
  std::string text;
  for (auto i = kept.size() - std::min(kept.size(), lines); i < kept.size(); ++i) text += kept[i];
  return text;
}

bool Transcript::contains(kj::StringPtr part) const {
  return std::any_of(kept.begin(), kept.end(),
                     [&](auto& line) { return line.find(part.cStr()) != std::string::npos; });
}

}  // namespace cairn::sim
