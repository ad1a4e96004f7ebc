// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The writes under way, where they outlive the process: slots in a small mapped file (store_format.h). Arming
// and clearing are plain stores, no system call.
// INVARIANTS: while a chunk's bytes and words may disagree, an armed slot names the blocks; and none names
// blocks of files that are gone: the next start would settle it on those that are there in their place. Used
// by chunk_store.cc; read once at start by recovery.cc.
#pragma once

#include <kj/async.h>
#include <kj/vector.h>

#include <list>
#include <set>

#include "chunkd/store_format.h"
#include "env/disk.h"

namespace cairn {

class Intents {
 public:
  explicit Intents(kj::Own<env::DiskMapping> mapping);  // of INTENT_SLOTS * INTENT_SLOT_SIZE bytes

  class Armed {
    // A slot in use. When the process dies with it, it stays armed for the next start to settle.
   public:
    Armed(Intents& intents, size_t slot) : intents(&intents), slot(slot) {}
    Armed(Armed&& other) noexcept : intents(other.intents), slot(other.slot) { other.intents = nullptr; }
    void clear();
    void leave();  // armed, for the next start: it failed halfway, and cannot be settled now

   private:
    Intents* intents;
    size_t slot;
  };

  struct Intent {
    IntentKind kind;
    ChunkHandle handle;
    ChunkVersion version;
    uint32_t firstBlock = 0;
    uint32_t length = 0;                  // TRUNCATE: the new length, bytes
    kj::ArrayPtr<const uint32_t> words;   // the blocks will have
    kj::ArrayPtr<const uint32_t> before;  // that they had, as many
  };
  kj::Maybe<Armed> arm(const Intent& intent);
  // Null: all slots are taken, or others wait for one.
  kj::Promise<kj::Maybe<Armed>> armInTurn(Intent intent);
  // When all that have waited longer have theirs. Null: no slot will be free, all have been left. Who drops
  // the promise may leave a slot armed.
  void forget(ChunkHandle chunk);  // its files are gone, and with them what was left to settle

  kj::Vector<IntentSlot> found() const;  // the armed ones that are whole
  void clearAll();

 private:
  kj::Own<env::DiskMapping> mapping;
  kj::ArrayPtr<kj::byte> memory;  // of the mapping
  kj::Vector<size_t> free;
  std::set<size_t> left;
  struct Waiter {
    Intent intent;
    kj::Own<kj::PromiseFulfiller<kj::Maybe<Armed>>> fulfiller;
  };
  std::list<Waiter> waiting;  // INVARIANT: while somebody waits, no slot is free

  IntentSlot& at(size_t slot) const;
  Armed take(const Intent& intent);
  void release(size_t slot);
};

}  // namespace cairn
