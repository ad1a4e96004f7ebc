// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See file_oracle.h.
#include "test/sim/file_oracle.h"

#include <algorithm>
#include <cstring>

namespace cairn::sim {

namespace {

uint64_t wordOf(WriteNumber write, uint64_t wordNumber) {
  uint64_t word = (uint64_t(write) << 40) ^ wordNumber;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
  return word ^ (word >> 31);
}

}  // namespace

kj::byte byteOf(WriteNumber write, uint64_t offset) {
  if (write == ZEROS) return 0;
  return kj::byte(wordOf(write, offset >> 3) >> ((offset & 7) * 8));
}

void fillWith(WriteNumber write, uint64_t offset, kj::ArrayPtr<kj::byte> bytes) {
  if (write == ZEROS) {
    if (bytes.size() > 0) std::memset(bytes.begin(), 0, bytes.size());
    return;
  }
  auto* to = bytes.begin();
  auto* end = bytes.end();
  while (to < end) {
    auto word = wordOf(write, offset >> 3) >> ((offset & 7) * 8);  // its bytes lie in memory lowest first
    auto size = std::min(size_t(end - to), size_t(8 - (offset & 7)));
    std::memcpy(to, &word, size);
    to += size;
    offset += size;
  }
}

void FileOracle::split(uint64_t at) {
  auto next = ranges.upper_bound(at);
  if (next == ranges.begin()) return;
  auto& [start, range] = *std::prev(next);
  if (start == at || range.end <= at) return;
  ranges[at] = range;
  range.end = at;
}

void FileOracle::add(uint64_t start, uint64_t end, WriteNumber write) {
  if (start >= end) return;
  split(start);
  split(end);
  // Places that no range covers have only ever been zeros.
  auto at = start;
  while (at < end) {
    auto found = ranges.lower_bound(at);
    if (found != ranges.end() && found->first == at) {
      at = found->second.end;
      continue;
    }
    auto gapEnd = found == ranges.end() ? end : std::min(end, found->first);
    ranges[at] = {gapEnd, {ZEROS}, Range::Doubt::NONE};
    at = gapEnd;
  }
  for (auto it = ranges.find(start); it != ranges.end() && it->first < end; ++it) {
    auto& candidates = it->second.candidates;
    candidates.erase(std::remove(candidates.begin(), candidates.end(), write), candidates.end());
    candidates.push_back(write);
    it->second.doubt = Range::Doubt::NONE;
  }
}

void FileOracle::write(uint64_t offset, uint64_t bytes, WriteNumber write) {
  if (bytes == 0) return;
  add(offset, offset + bytes, write);
  if (offset + bytes > size()) sizes.push_back(offset + bytes);
  writtenEnd = std::max(writtenEnd, offset + bytes);
}

void FileOracle::truncate(uint64_t to) {
  auto largest = *std::max_element(sizes.begin(), sizes.end());
  add(to, largest, ZEROS);
  if (to != size() || sizeDoubt == Range::Doubt::GIVEN_UP) sizes.push_back(to);
  if (sizeDoubt == Range::Doubt::GIVEN_UP) sizeDoubt = Range::Doubt::INTERRUPTED;  // this settles it
  writtenEnd = 0;
}

void FileOracle::settle() {
  if (lost) return;
  for (auto& [start, range] : ranges) {
    if (range.doubt == Range::Doubt::GIVEN_UP) continue;
    range.candidates = {range.candidates.back()};
    range.doubt = Range::Doubt::NONE;
  }
  if (sizeDoubt == Range::Doubt::GIVEN_UP) {
    for (auto& size : sizes) size = std::max(size, writtenEnd);
    return;
  }
  sizes = {sizes.back()};
  sizeDoubt = Range::Doubt::NONE;
}

void FileOracle::interrupt(Lengths lengths) {
  bool isDoubtful = lengths == Lengths::IN_DOUBT && sizes.size() > 1;
  if (isDoubtful && sizeDoubt == Range::Doubt::NONE) sizeDoubt = Range::Doubt::INTERRUPTED;
  for (auto& [start, range] : ranges) {
    if (range.candidates.size() > 1 && range.doubt == Range::Doubt::NONE)
      range.doubt = Range::Doubt::INTERRUPTED;
  }
}

bool FileOracle::isInterrupted() const {
  return lost || sizeDoubt != Range::Doubt::NONE ||
         std::any_of(ranges.begin(), ranges.end(),
                     [](auto& entry) { return entry.second.doubt != Range::Doubt::NONE; });
}

void FileOracle::giveUp() {
  if (sizeDoubt == Range::Doubt::INTERRUPTED) {
    sizeDoubt = Range::Doubt::GIVEN_UP;
    writtenEnd = 0;
  }
  for (auto& [start, range] : ranges) {
    if (range.candidates.size() > 1) range.doubt = Range::Doubt::GIVEN_UP;
  }
}

void FileOracle::lose() {
  lost = true;
}

std::optional<kj::String> FileOracle::judgeSize(Viewer viewer, uint64_t got) const {
  if (viewer == Viewer::WRITER && !lost && sizeDoubt == Range::Doubt::NONE) {
    if (got == size()) return {};
    return kj::str("size ", got, " instead of ", size());
  }
  // Any length between the candidates: a length is published for what has been applied so far.
  auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  if (got >= *least && got <= *most) return {};
  return kj::str("size ", got, ", which is not from ", *least, " to ", *most);
}

std::optional<kj::String> FileOracle::judge(Viewer viewer, uint64_t offset, uint64_t asked,
                                            kj::ArrayPtr<const kj::byte> got) const {
  if (got.size() > asked) return kj::str("more bytes than asked: ", got.size(), " of ", asked);
  bool exact = viewer == Viewer::WRITER && !lost;
  bool exactSize = exact && sizeDoubt == Range::Doubt::NONE;
  auto least = exactSize ? size() : *std::min_element(sizes.begin(), sizes.end());
  auto most = exactSize ? size() : *std::max_element(sizes.begin(), sizes.end());
  if (offset + got.size() > most && got.size() > 0) {
    return kj::str("bytes beyond the end: up to ", offset + got.size(), " of ", most);
  }
  if (got.size() < asked && offset + got.size() < least) {
    return kj::str("ends at ", offset + got.size(), ", before the end of the file at ", least);
  }
  static const std::vector<WriteNumber> HOLE = {ZEROS};
  for (size_t i = 0; i < got.size();) {
    auto at = offset + i;
    auto found = ranges.upper_bound(at);
    auto end = found == ranges.end() ? UINT64_MAX : found->first;
    auto* candidates = &HOLE;
    bool own = exact;
    if (found != ranges.begin() && std::prev(found)->second.end > at) {
      candidates = &std::prev(found)->second.candidates;
      end = std::prev(found)->second.end;
      own = exact && std::prev(found)->second.doubt == Range::Doubt::NONE;
    }
    // Nearly always the whole range is of one write: compared at once. Else byte by byte.
    auto whole = kj::heapArray<kj::byte>(std::min(got.size() - i, size_t(end - at)));
    fillWith(candidates->back(), at, whole);
    if (std::memcmp(whole.begin(), got.begin() + i, whole.size()) == 0) {
      i += whole.size();
      continue;
    }
    for (; i < got.size() && offset + i < end; ++i) {
      auto matches = [&](WriteNumber write) { return byteOf(write, offset + i) == got[i]; };
      bool right =
          own ? matches(candidates->back()) : std::any_of(candidates->begin(), candidates->end(), matches);
      if (right) continue;
      auto names = KJ_MAP(write, *candidates) {
        return write;
      };
      return kj::str("byte ", offset + i, " is ", unsigned(got[i]), got[i] == 0 ? " (a hole?)" : "",
                     ", not of write ", kj::strArray(names, " or "), own ? " (its own)" : "");
    }
  }
  return {};
}

}  // namespace cairn::sim
