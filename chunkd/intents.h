// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The writes under way, where they outlive the process: slots in a small mapped file (store_format.h). Arming
// and clearing are plain stores, no system call.
// INVARIANT: while a chunk's bytes and words may disagree, an armed slot names the blocks. Used by
// chunk_store.cc; read once at start by recovery.cc.
#pragma once

#include <kj/async.h>
#include <kj/vector.h>

#include "chunkd/store_format.h"
#include "env/disk.h"

namespace cairn {

class Intents {
 public:
  explicit Intents(kj::Own<env::DiskMapping> mapping);  // of INTENT_SLOTS * INTENT_SLOT_SIZE bytes

  class Armed {
    // A slot in use. Destroyed without clear(), it stays armed for the next start to settle: so it is when a
    // write fails halfway, and when the process dies with it.
   public:
    Armed(Intents& intents, size_t slot) : intents(&intents), slot(slot) {}
    Armed(Armed&& other) noexcept : intents(other.intents), slot(other.slot) { other.intents = nullptr; }
    void clear();

   private:
    Intents* intents;
    size_t slot;
  };

  kj::Promise<void> whenFree();
  // Resolves when arm() will find a slot, unless another caller takes it first.

  kj::Maybe<Armed> arm(IntentKind kind, ChunkHandle handle, ChunkVersion version, uint32_t firstBlock,
                       uint32_t length, kj::ArrayPtr<const uint32_t> words,
                       kj::ArrayPtr<const uint32_t> before);
  // `words` the blocks will have, and those they had `before`, as many. Null: all slots are taken.

  kj::Vector<IntentSlot> found() const;  // the armed ones that are whole
  void clearAll();

 private:
  kj::Own<env::DiskMapping> mapping;
  kj::ArrayPtr<kj::byte> memory;  // of the mapping
  kj::Vector<size_t> free;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;

  IntentSlot& at(size_t slot) const;
  void release(size_t slot);
};

}  // namespace cairn
