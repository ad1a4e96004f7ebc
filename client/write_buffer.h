// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Write-behind of one file: what has been written and not yet applied, and what to send next. Small writes
// are copied together into extents of up to 1 MiB that end at multiples of 1 MiB; large aligned ones keep the
// memory they came in. A part-filled extent waits `linger` for neighbours unless somebody flushes or memory
// is tight. Small extents of a chunk that are to go at the same time go in one message.
//
// INVARIANT: waiting extents do not overlap each other, nor do sent ones; nothing is sent while it overlaps
// what was sent before and is not done, so the replicas see overlapping writes in the order they were made.
// INVARIANT: no extent crosses a chunk boundary or is larger than TRANSFER_SIZE_MAX.
// Pure: the caller passes `now`, sends what next() returns and says done(). Called by open_file.cc only.
#pragma once

#include <kj/time.h>
#include <kj/vector.h>

#include <list>
#include <map>
#include <vector>

#include "client/buffer_budget.h"
#include "client/filesystem.h"
#include "rpc/units.h"

namespace cairn::client {

struct Extent {
  // A run of bytes of the file, and the memory they are in.
  uint64_t offset = 0;
  kj::ArrayPtr<const kj::byte> bytes;
  kj::Own<BufferMemory> memory;

  uint64_t end() const { return offset + bytes.size(); }
};

class WriteBuffer {
 public:
  struct Limits {
    size_t keepSizeMin = 512 << 10;  // from here on a message of its own costs less than the copy
    kj::Duration linger = 50 * kj::MILLISECONDS;  // 20 MB/s of small writes fill 1 MiB in that time
    size_t waitingBytesMax = 8 << 20;             // more than that and the oldest go, full or not
    size_t sentBytesMax = 16 << 20;
    size_t sentCountMax = 512;  // extents
    size_t extentsMax = 64;     // of a message: more would save little, and each hop waits for all of it
  };
  enum class Urgency { NONE, MEMORY };  // MEMORY: somebody waits for room, send what there is

  WriteBuffer(BufferBudget& budget, Limits limits) : budget(kj::addRef(budget)), limits(limits) {}
  KJ_DISALLOW_COPY(WriteBuffer);

  void write(uint64_t offset, Bytes bytes, kj::TimePoint now);
  // The caller has waited for room in the budget. At most TRANSFER_SIZE_MAX bytes.

  struct Outgoing {
    // What goes in one message: extents of one chunk, in file order.
    uint64_t id = 0;
    kj::Vector<ByteRange> extents;
    kj::ArrayPtr<const kj::byte> bytes;  // of all of them, one after the other
    kj::Own<BufferMemory> memory;        // that `bytes` is in; whole words, the last one padded

    uint64_t offset() const { return extents.front().offset; }
    uint64_t end() const { return extents.back().offset + extents.back().size; }
  };
  kj::Maybe<Outgoing> next(kj::TimePoint now, Urgency urgency);
  // What to send now; it counts as sent until done(id).
  kj::Maybe<kj::TimePoint> lingerEnd(kj::TimePoint now) const;
  // When next() may find something only because time has passed.
  void done(uint64_t id);  // applied on all replicas, or given up

  uint64_t flushMark();  // everything written so far has become urgent; pass to isDone
  bool isDone(uint64_t mark) const;
  void urge(uint64_t offset, uint64_t size);  // sends this range soon

  void overlay(uint64_t offset, uint64_t size, kj::Vector<Extent>& found) const;
  // The newest bytes of the range that are here, in file order; what is missing is with the replicas.
  bool overlaps(uint64_t offset, uint64_t size) const;

  void truncate(uint64_t size);  // drops what waits beyond it
  bool sentBeyond(uint64_t size) const;

  uint64_t end() const;                        // of the last extent, 0 if there is none
  uint64_t lowestBeyond(uint64_t size) const;  // start of the lowest extent that ends after `size`
  bool isEmpty() const { return waiting.empty() && sent.empty(); }
  bool hasWaiting() const { return !waiting.empty(); }
  size_t sentMessages() const { return messages.size(); }
  size_t waitingBytes() const { return waitingTotal; }
  void checkInvariants() const;

 private:
  struct Waiting {
    Extent extent;
    uint64_t serial;  // rises with each new extent; one that grows or is split keeps the oldest
    kj::TimePoint since;
    std::list<uint64_t>::iterator place;  // in `ready` or `lingering`
    bool isReady = false;
  };
  struct Sent {
    Extent extent;
    uint64_t id;
    uint64_t serial;  // lowest of what its message has
  };
  using WaitingMap = std::map<uint64_t, Waiting>;

  kj::Own<BufferBudget> budget;
  const Limits limits;
  WaitingMap waiting;             // by offset
  std::list<uint64_t> lingering;  // offsets of `waiting` that hope for neighbours, by rising serial
  std::list<uint64_t> ready;      // and of those that do not: full, or asked for
  std::map<uint64_t, Sent> sent;  // by offset
  std::map<uint64_t, kj::Vector<ByteRange>> messages;  // by id: which of `sent` they have
  size_t waitingTotal = 0, sentTotal = 0;
  uint64_t serials = 0, ids = 0, urgentSerial = 0;
  uint64_t lastEnd = UINT64_MAX;  // of the previous write: is this a sequential writer?
  uint64_t streak = 0;            // and for how many bytes already

  void keep(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes, BufferMemory& memory, kj::TimePoint now);
  void copy(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes, kj::TimePoint now);
  bool overwrite(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes);
  bool append(uint64_t offset, kj::ArrayPtr<const kj::byte> bytes);
  void cutOut(uint64_t start, uint64_t end);
  Waiting& insert(Extent extent, kj::TimePoint now);
  WaitingMap::iterator drop(WaitingMap::iterator entry);
  void makeReady(Waiting& entry);
  bool isDue(const Waiting& entry, kj::TimePoint now, Urgency urgency) const;
  bool isBlocked(const Extent& extent) const;
  bool joins(const Waiting& entry, uint64_t window) const;
  bool goesAlong(const Waiting& entry, kj::TimePoint now, Urgency urgency) const;
  using Parts = std::vector<WaitingMap::iterator>;
  Parts choose(WaitingMap::iterator chosen, kj::TimePoint now, Urgency urgency);
  void addCompanions(Parts& parts, size_t size, kj::TimePoint now, Urgency urgency);
  Outgoing send(const Parts& parts);
  Outgoing gather(const Parts& parts);
  WaitingMap::const_iterator firstEndingAfter(uint64_t offset) const;
  std::map<uint64_t, Sent>::const_iterator firstSentEndingAfter(uint64_t offset) const;
};

}  // namespace cairn::client
