// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/write_buffer.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace cairn::client {

namespace {

// Copied extents end at multiples of this at the latest. It divides CHUNK_SIZE.
constexpr uint64_t WINDOW = TRANSFER_SIZE_MAX;
static_assert(CHUNK_SIZE % WINDOW == 0);
constexpr size_t READY_SIZE_MIN =
    64 << 10;  // an extent that reaches the end of its window and is this large goes
constexpr size_t COMPANION_SIZE_MAX = 32 << 10;  // larger ones are worth a message of their own

constexpr uint64_t windowOf(uint64_t offset) {
  return offset / WINDOW;
}
constexpr size_t roundUpToWord(size_t size) {
  return (size + 7) & ~size_t(7);
}
bool isWordAligned(const kj::byte* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 8 == 0;
}

}  // namespace

// ------------------------------------------------------------ taking writes

void WriteBuffer::write(uint64_t offset, Bytes bytes, kj::TimePoint now) {
  auto view = bytes.view;
  if (view.size() == 0) return;
  KJ_REQUIRE(view.size() <= TRANSFER_SIZE_MAX, "split larger writes, so that each waits for room");
  streak = offset == lastEnd ? streak + view.size() : view.size();
  lastEnd = offset + view.size();

  size_t head = std::min<uint64_t>(view.size(), CHUNK_SIZE - offset % CHUNK_SIZE);
  bool worthKeeping = view.size() >= limits.keepSizeMin && view.size() % 8 == 0 && head % 8 == 0;
  if (worthKeeping && isWordAligned(view.begin())) {
    auto memory = kj::refcounted<BufferMemory>(*budget, view, kj::mv(bytes.keeper));
    keep(offset, view.slice(0, head), *memory, now);
    if (head < view.size()) keep(offset + head, view.slice(head, view.size()), *memory, now);
    return;
  }
  while (view.size() > 0) {
    size_t part = std::min<uint64_t>(view.size(), WINDOW - offset % WINDOW);
    copy(offset, view.slice(0, part), now);
    offset += part;
    view = view.slice(part, view.size());
  }
}

void WriteBuffer::keep(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes, BufferMemory& memory,
                       kj::TimePoint now) {
  cutOut(offset, offset + bytes.size());
  makeReady(insert(Extent{offset, bytes, memory.addRef()}, now));
}

void WriteBuffer::copy(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes, kj::TimePoint now) {
  if (overwrite(offset, bytes)) return;
  cutOut(offset, offset + bytes.size());
  if (append(offset, bytes)) return;

  // A sequential writer will fill the rest of the window: as much room as it has written already.
  uint64_t left = WINDOW - offset % WINDOW;
  auto memory = kj::refcounted<BufferMemory>(
      *budget, roundUpToWord(std::min<uint64_t>(left, std::max<uint64_t>(bytes.size(), streak))));
  memcpy(memory->writable(), bytes.begin(), bytes.size());
  auto view = kj::arrayPtr(memory->begin(), bytes.size());
  auto& entry = insert(Extent{offset, view, kj::mv(memory)}, now);
  if (bytes.size() == left && bytes.size() >= READY_SIZE_MIN) makeReady(entry);
}

bool WriteBuffer::overwrite(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) {
  auto entry = waiting.upper_bound(offset);
  if (entry == waiting.begin()) return false;
  auto& extent = std::prev(entry)->second.extent;
  if (extent.end() < offset + bytes.size() || !extent.memory->mayChange()) return false;
  size_t at = (extent.bytes.begin() - extent.memory->begin()) + (offset - extent.offset);
  memcpy(extent.memory->writable() + at, bytes.begin(), bytes.size());
  return true;
}

bool WriteBuffer::append(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes) {
  auto place = waiting.lower_bound(offset);
  if (place == waiting.begin()) return false;
  auto& entry = std::prev(place)->second;
  auto& extent = entry.extent;
  if (extent.end() != offset || windowOf(extent.offset) != windowOf(offset)) return false;
  if (!extent.memory->mayChange()) return false;

  size_t used = extent.end() - extent.offset;
  size_t at = extent.bytes.end() - extent.memory->begin();
  if (at + bytes.size() > extent.memory->capacity()) {
    // At least doubled, so that each byte is copied here at most once on average.
    uint64_t room = WINDOW - extent.offset % WINDOW;
    size_t capacity = std::min<uint64_t>(room, std::max<uint64_t>(2 * (used + bytes.size()), streak));
    auto larger = kj::refcounted<BufferMemory>(*budget, roundUpToWord(capacity));
    memcpy(larger->writable(), extent.bytes.begin(), used);
    extent.memory = kj::mv(larger);
    at = used;
  }
  memcpy(extent.memory->writable() + at, bytes.begin(), bytes.size());
  extent.bytes = kj::arrayPtr(extent.memory->begin() + (at - used), used + bytes.size());
  waitingTotal += bytes.size();
  if (extent.end() % WINDOW == 0 && extent.bytes.size() >= READY_SIZE_MIN) makeReady(entry);
  return true;
}

void WriteBuffer::cutOut(uint64_t start, uint64_t end) {
  // Makes way for newer bytes, or for a truncate.
  auto place = waiting.lower_bound(start);
  if (place != waiting.begin() && std::prev(place)->second.extent.end() > start) place = std::prev(place);
  while (place != waiting.end() && place->first < end) {
    auto& entry = place->second;
    uint64_t from = entry.extent.offset, to = entry.extent.end();
    if (to > end) {
      // The part behind keeps its age and its memory; it lingers or is ready as before.
      auto& list = entry.isReady ? ready : lingering;
      Extent rest{end, entry.extent.bytes.slice(end - from, to - from), entry.extent.memory->addRef()};
      Waiting behind{kj::mv(rest), entry.serial, entry.since, list.insert(std::next(entry.place), end),
                     entry.isReady};
      waitingTotal += to - end;
      waiting.emplace(end, kj::mv(behind));
    }
    if (from < start) {
      waitingTotal -= to - start;
      entry.extent.bytes = entry.extent.bytes.slice(0, start - from);
      ++place;
    } else {
      place = drop(place);
    }
  }
}

WriteBuffer::Waiting& WriteBuffer::insert(Extent extent, kj::TimePoint now) {
  waitingTotal += extent.bytes.size();
  auto offset = extent.offset;
  auto place = lingering.insert(lingering.end(), offset);
  auto [entry, fresh] = waiting.emplace(offset, Waiting{kj::mv(extent), ++serials, now, place});
  KJ_ASSERT(fresh, "something is left where cutOut made way", offset);
  return entry->second;
}

WriteBuffer::WaitingMap::iterator WriteBuffer::drop(WaitingMap::iterator entry) {
  waitingTotal -= entry->second.extent.bytes.size();
  (entry->second.isReady ? ready : lingering).erase(entry->second.place);
  return waiting.erase(entry);
}

void WriteBuffer::makeReady(Waiting& entry) {
  if (entry.isReady) return;
  entry.isReady = true;
  ready.splice(ready.end(), lingering, entry.place);
}

void WriteBuffer::truncate(uint64_t size) {
  cutOut(size, UINT64_MAX);
}

// ------------------------------------------------------------ sending

bool WriteBuffer::isDue(const Waiting& entry, kj::TimePoint now, Urgency urgency) const {
  return urgency == Urgency::MEMORY || entry.serial <= urgentSerial || entry.since + limits.linger <= now ||
         waitingTotal > limits.waitingBytesMax;
}

std::map<uint64_t, WriteBuffer::Sent>::const_iterator WriteBuffer::firstSentEndingAfter(
    uint64_t offset) const {
  auto place = sent.upper_bound(offset);
  if (place != sent.begin() && std::prev(place)->second.extent.end() > offset) --place;
  return place;
}

WriteBuffer::WaitingMap::const_iterator WriteBuffer::firstEndingAfter(uint64_t offset) const {
  auto place = waiting.upper_bound(offset);
  if (place != waiting.begin() && std::prev(place)->second.extent.end() > offset) --place;
  return place;
}

bool WriteBuffer::isBlocked(const Extent& extent) const {
  auto place = firstSentEndingAfter(extent.offset);
  return place != sent.end() && place->first < extent.end();
}

kj::Maybe<WriteBuffer::Outgoing> WriteBuffer::next(kj::TimePoint now, Urgency urgency) {
  if (waiting.empty() || sent.size() >= limits.sentCountMax || sentTotal >= limits.sentBytesMax)
    return nullptr;
  for (auto offset : ready) {
    auto entry = waiting.find(offset);
    if (!isBlocked(entry->second.extent)) return send(choose(entry, now, urgency));
  }
  for (auto offset : lingering) {
    auto entry = waiting.find(offset);
    if (!isDue(entry->second, now, urgency)) break;  // they are in order of age
    if (!isBlocked(entry->second.extent)) return send(choose(entry, now, urgency));
  }
  return nullptr;
}

bool WriteBuffer::joins(const Waiting& entry, uint64_t window) const {
  auto& extent = entry.extent;
  return windowOf(extent.offset) == window && windowOf(extent.end() - 1) == window &&
         extent.bytes.size() < limits.keepSizeMin && !isBlocked(extent);
}

bool WriteBuffer::goesAlong(const Waiting& entry, kj::TimePoint now, Urgency urgency) const {
  // Where the last write ended the next one may go on.
  auto& extent = entry.extent;
  return extent.bytes.size() <= COMPANION_SIZE_MAX && extent.end() != lastEnd &&
         (entry.isReady || isDue(entry, now, urgency)) && !isBlocked(extent);
}

WriteBuffer::Parts WriteBuffer::choose(WaitingMap::iterator chosen, kj::TimePoint now, Urgency urgency) {
  // The neighbours that touch the chosen extent within its window become one with it, due or not.
  auto first = chosen, last = std::next(chosen);
  uint64_t window = windowOf(chosen->first);
  if (joins(chosen->second, window)) {
    while (first != waiting.begin()) {
      auto left = std::prev(first);
      if (left->second.extent.end() != first->first || !joins(left->second, window)) break;
      first = left;
    }
    while (last != waiting.end()) {
      if (std::prev(last)->second.extent.end() != last->first || !joins(last->second, window)) break;
      ++last;
    }
  }
  Parts parts;
  for (auto entry = first; entry != last; ++entry) parts.push_back(entry);
  size_t size = std::prev(last)->second.extent.end() - first->first;
  if (size <= COMPANION_SIZE_MAX) addCompanions(parts, size, now, urgency);
  return parts;
}

void WriteBuffer::addCompanions(Parts& parts, size_t size, kj::TimePoint now, Urgency urgency) {
  // What else may go now to the same chunk: from the chosen extent on, round its end. That is cheaper than to
  // find the oldest, which are chosen in their turn, and the disks like it better.
  uint64_t from = parts.front()->first;
  uint64_t start = startOf(locate(FileOffset(from)).index).value();
  auto add = [&](WaitingMap::iterator entry, uint64_t end) {
    for (; entry != waiting.end() && entry->first < end; ++entry) {
      if (parts.size() == limits.extentsMax || size + COMPANION_SIZE_MAX > TRANSFER_SIZE_MAX) return;
      if (!goesAlong(entry->second, now, urgency)) continue;
      size += entry->second.extent.bytes.size();
      parts.push_back(entry);
    }
  };
  add(std::next(parts.back()), start + CHUNK_SIZE);
  add(waiting.lower_bound(start), from);
  std::sort(parts.begin(), parts.end(), [](auto left, auto right) { return left->first < right->first; });
}

WriteBuffer::Outgoing WriteBuffer::send(const Parts& parts) {
  uint64_t serial = UINT64_MAX;
  for (auto entry : parts) serial = std::min(serial, entry->second.serial);
  auto outgoing = gather(parts);
  for (auto entry : parts) drop(entry);

  outgoing.id = ++ids;
  kj::Vector<ByteRange> ranges(outgoing.extents.size());
  auto rest = outgoing.bytes;
  for (auto& range : outgoing.extents) {
    Extent extent{range.offset, rest.slice(0, range.size), outgoing.memory->addRef()};
    sent.emplace(range.offset, Sent{kj::mv(extent), outgoing.id, serial});
    rest = rest.slice(range.size, rest.size());
    ranges.add(range);
  }
  sentTotal += outgoing.bytes.size();
  messages.emplace(outgoing.id, kj::mv(ranges));
  return outgoing;
}

WriteBuffer::Outgoing WriteBuffer::gather(const Parts& parts) {
  // A message refers to whole words of memory: a last word that is not full is padded with zeros.
  Outgoing outgoing;
  size_t total = 0;
  for (auto entry : parts) {
    auto& extent = entry->second.extent;
    if (outgoing.extents.empty() || outgoing.end() != extent.offset) {
      outgoing.extents.add(ByteRange{extent.offset, 0});
    }
    outgoing.extents.back().size += extent.bytes.size();
    total += extent.bytes.size();
  }
  auto& only = parts.front()->second.extent;
  size_t padding = roundUpToWord(total) - total;
  if (parts.size() == 1 && isWordAligned(only.bytes.begin()) && (padding == 0 || only.memory->mayChange())) {
    if (padding > 0) {
      memset(only.memory->writable() + (only.bytes.end() - only.memory->begin()), 0, padding);
    }
    outgoing.bytes = only.bytes;
    outgoing.memory = only.memory->addRef();
    return outgoing;
  }
  auto memory = kj::refcounted<BufferMemory>(*budget, total + padding);
  auto target = memory->writable();
  for (auto entry : parts) {
    auto& bytes = entry->second.extent.bytes;
    memcpy(target, bytes.begin(), bytes.size());
    target += bytes.size();
  }
  memset(target, 0, padding);
  outgoing.bytes = kj::arrayPtr(memory->begin(), total);
  outgoing.memory = kj::mv(memory);
  return outgoing;
}

void WriteBuffer::done(uint64_t id) {
  auto message = messages.find(id);
  KJ_REQUIRE(message != messages.end(), "done twice", id);
  for (auto& range : message->second) {
    sentTotal -= range.size;
    sent.erase(range.offset);
  }
  messages.erase(message);
}

kj::Maybe<kj::TimePoint> WriteBuffer::lingerEnd(kj::TimePoint now) const {
  // They are in order of age, so when the youngest is due all are: the common case while much is waiting.
  if (lingering.empty() || isDue(waiting.find(lingering.back())->second, now, Urgency::NONE)) return nullptr;
  for (auto offset : lingering) {
    auto& entry = waiting.find(offset)->second;
    if (!isDue(entry, now, Urgency::NONE)) return entry.since + limits.linger;
  }
  KJ_UNREACHABLE;
}

// ------------------------------------------------------------ looking

uint64_t WriteBuffer::flushMark() {
  urgentSerial = serials;
  return serials;
}

bool WriteBuffer::isDone(uint64_t mark) const {
  if (!lingering.empty() && waiting.find(lingering.front())->second.serial <= mark) return false;
  for (auto offset : ready) {
    if (waiting.find(offset)->second.serial <= mark) return false;
  }
  for (auto& [offset, entry] : sent) {
    if (entry.serial <= mark) return false;
  }
  return true;
}

void WriteBuffer::urge(uint64_t offset, uint64_t size) {
  for (auto entry = waiting.upper_bound(offset + size); entry != waiting.begin();) {
    --entry;
    if (entry->second.extent.end() <= offset) break;
    makeReady(entry->second);
  }
}

void WriteBuffer::overlay(uint64_t offset, uint64_t size, kj::Vector<Extent>& found) const {
  auto give = [&](const Extent& extent, uint64_t from, uint64_t to) {
    found.add(
        Extent{from, extent.bytes.slice(from - extent.offset, to - extent.offset), extent.memory->addRef()});
  };
  uint64_t end = offset + size;
  auto newer = firstEndingAfter(offset);
  auto older = firstSentEndingAfter(offset);
  for (uint64_t at = offset; at < end;) {
    while (newer != waiting.end() && newer->second.extent.end() <= at) ++newer;
    while (older != sent.end() && older->second.extent.end() <= at) ++older;
    uint64_t newerStart = newer == waiting.end() ? end : std::min(end, newer->first);
    uint64_t olderStart = older == sent.end() ? end : std::min(end, older->first);
    if (newerStart <= at) {
      auto to = std::min(end, newer->second.extent.end());
      give(newer->second.extent, at, to);
      at = to;
    } else if (olderStart <= at) {
      auto to = std::min(newerStart, older->second.extent.end());
      give(older->second.extent, at, to);
      at = to;
    } else {
      at = std::min(newerStart, olderStart);
    }
  }
}

bool WriteBuffer::overlaps(uint64_t offset, uint64_t size) const {
  auto newer = firstEndingAfter(offset);
  if (newer != waiting.end() && newer->first < offset + size) return true;
  auto older = firstSentEndingAfter(offset);
  return older != sent.end() && older->first < offset + size;
}

bool WriteBuffer::sentBeyond(uint64_t size) const {
  return firstSentEndingAfter(size) != sent.end();
}

uint64_t WriteBuffer::end() const {
  uint64_t result = 0;
  if (!waiting.empty()) result = std::prev(waiting.end())->second.extent.end();
  if (!sent.empty()) result = std::max(result, std::prev(sent.end())->second.extent.end());
  return result;
}

uint64_t WriteBuffer::lowestBeyond(uint64_t size) const {
  uint64_t result = UINT64_MAX;
  if (auto newer = firstEndingAfter(size); newer != waiting.end()) result = newer->first;
  if (auto older = firstSentEndingAfter(size); older != sent.end()) result = std::min(result, older->first);
  return result;
}

void WriteBuffer::checkInvariants() const {
  size_t total = 0;
  uint64_t end = 0;
  for (auto& [offset, entry] : waiting) {
    auto& extent = entry.extent;
    KJ_ASSERT(offset == extent.offset && offset >= end && extent.bytes.size() > 0, offset, end);
    KJ_ASSERT(extent.bytes.size() <= TRANSFER_SIZE_MAX && *entry.place == offset);
    KJ_ASSERT(offset / CHUNK_SIZE == (extent.end() - 1) / CHUNK_SIZE, "crosses a chunk boundary", offset);
    KJ_ASSERT(extent.bytes.begin() >= extent.memory->begin() &&
              extent.bytes.end() <= extent.memory->begin() + extent.memory->capacity());
    total += extent.bytes.size();
    end = extent.end();
  }
  KJ_ASSERT(total == waitingTotal && lingering.size() + ready.size() == waiting.size());
  uint64_t serial = 0;
  for (auto offset : lingering) {
    auto& entry = waiting.find(offset)->second;
    KJ_ASSERT(entry.serial >= serial && !entry.isReady, "lingering is not in order of age");
    serial = entry.serial;
  }
  total = end = 0;
  for (auto& [offset, entry] : sent) {
    KJ_ASSERT(offset >= end && messages.count(entry.id) == 1, offset, end);
    total += entry.extent.bytes.size();
    end = entry.extent.end();
  }
  KJ_ASSERT(total == sentTotal && messages.size() <= sent.size());
}

}  // namespace cairn::client
