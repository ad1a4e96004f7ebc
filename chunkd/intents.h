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

  kj::Promise<void> whenFree();
  // Resolves when arm() will find a slot, unless another caller takes it first, or when none will be free.

  kj::Maybe<Armed> arm(IntentKind kind, ChunkHandle handle, ChunkVersion version, uint32_t firstBlock,
                       uint32_t length, kj::ArrayPtr<const uint32_t> words,
                       kj::ArrayPtr<const uint32_t> before);
  // `words` the blocks will have, and those they had `before`, as many. Null: all slots are taken.

  bool noneWillBeFree() const { return left.size() == INTENT_SLOTS; }  // all have been left
  void forget(ChunkHandle chunk);  // its files are gone, and with them what was left to settle

  kj::Vector<IntentSlot> found() const;  // the armed ones that are whole
  void clearAll();

 private:
  kj::Own<env::DiskMapping> mapping;
  kj::ArrayPtr<kj::byte> memory;  // of the mapping
  kj::Vector<size_t> free;
  std::set<size_t> left;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;

  IntentSlot& at(size_t slot) const;
  void release(size_t slot);
  void wake();
};

}  // namespace cairn
