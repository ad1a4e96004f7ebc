// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/intents.h"

#include <kj/debug.h>
#include <string.h>

#include <atomic>

namespace cairn {

Intents::Intents(kj::Own<env::DiskMapping> mappingParam)
    : mapping(kj::mv(mappingParam)), memory(mapping->bytes()) {
  KJ_REQUIRE(memory.size() == INTENT_SLOTS * INTENT_SLOT_SIZE);
  for (size_t slot = INTENT_SLOTS; slot > 0; slot--) free.add(slot - 1);
}

IntentSlot& Intents::at(size_t slot) const {
  return *reinterpret_cast<IntentSlot*>(const_cast<kj::byte*>(memory.begin()) + slot * INTENT_SLOT_SIZE);
}

kj::Promise<void> Intents::whenFree() {
  if (free.size() > 0 || noneWillBeFree()) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiting.add(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

kj::Maybe<Intents::Armed> Intents::arm(IntentKind kind, ChunkHandle handle, ChunkVersion version,
                                       uint32_t firstBlock, uint32_t length,
                                       kj::ArrayPtr<const uint32_t> words,
                                       kj::ArrayPtr<const uint32_t> before) {
  KJ_REQUIRE(words.size() <= INTENT_BLOCKS_MAX && before.size() == words.size(), words.size(), before.size());
  if (free.size() == 0) return nullptr;
  size_t slot = free.back();
  free.removeLast();
  IntentSlot& intent = at(slot);
  intent.format = STORE_FORMAT;
  intent.firstBlock = firstBlock;
  intent.count = uint32_t(words.size());
  intent.length = length;
  intent.handle = handle.value();
  intent.version = version.value();
  memcpy(intent.words, words.begin(), words.size() * sizeof(uint32_t));
  memcpy(intent.words + words.size(), before.begin(), before.size() * sizeof(uint32_t));
  intent.crc = intentCrc(intent);
  // The kernel has the page as this processor has it when the process dies: only the compiler may reorder.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  *static_cast<volatile uint32_t*>(&intent.kind) = uint32_t(kind);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return Armed(*this, slot);
}

void Intents::Armed::clear() {
  if (intents == nullptr) return;
  intents->release(slot);
  intents = nullptr;
}

void Intents::Armed::leave() {
  if (intents == nullptr) return;
  intents->left.insert(slot);
  if (intents->noneWillBeFree()) intents->wake();
  intents = nullptr;
}

void Intents::forget(ChunkHandle chunk) {
  for (auto slot = left.begin(); slot != left.end();) {
    bool isItsOwn = at(*slot).handle == chunk.value();
    if (isItsOwn) release(*slot);
    slot = isItsOwn ? left.erase(slot) : std::next(slot);
  }
}

void Intents::release(size_t slot) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  *static_cast<volatile uint32_t*>(&at(slot).kind) = uint32_t(IntentKind::NONE);
  free.add(slot);
  wake();
}

void Intents::wake() {
  for (auto& waiter : waiting) waiter->fulfill();
  waiting.clear();
}

kj::Vector<IntentSlot> Intents::found() const {
  kj::Vector<IntentSlot> armed;
  for (size_t slot = 0; slot < INTENT_SLOTS; slot++) {
    const IntentSlot& intent = at(slot);
    if (intent.kind == uint32_t(IntentKind::NONE) || intent.format != STORE_FORMAT) continue;
    if (intent.count > INTENT_BLOCKS_MAX || intent.crc != intentCrc(intent)) continue;
    armed.add(intent);
  }
  return armed;
}

void Intents::clearAll() {
  memset(memory.begin(), 0, memory.size());
}

}  // namespace cairn
