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

kj::Maybe<Intents::Armed> Intents::arm(const Intent& intent) {
  KJ_REQUIRE(intent.words.size() <= INTENT_BLOCKS_MAX && intent.before.size() == intent.words.size(),
             intent.words.size(), intent.before.size());
  if (free.size() == 0) return nullptr;
  return take(intent);
}

kj::Promise<kj::Maybe<Intents::Armed>> Intents::armInTurn(Intent intent) {
  auto armed = arm(intent);
  if (armed != nullptr || left.size() == INTENT_SLOTS) return kj::mv(armed);
  auto pair = kj::newPromiseAndFulfiller<kj::Maybe<Armed>>();
  waiting.push_back({intent, kj::mv(pair.fulfiller)});
  return kj::mv(pair.promise);
}

Intents::Armed Intents::take(const Intent& intent) {
  auto& words = intent.words;
  size_t slot = free.back();
  free.removeLast();
  IntentSlot& written = at(slot);
  written.format = STORE_FORMAT;
  written.firstBlock = intent.firstBlock;
  written.count = uint32_t(words.size());
  written.length = intent.length;
  written.handle = intent.handle.value();
  written.version = intent.version.value();
  memcpy(written.words, words.begin(), words.size() * sizeof(uint32_t));
  memcpy(written.words + words.size(), intent.before.begin(), words.size() * sizeof(uint32_t));
  written.crc = intentCrc(written);
  // The kernel has the page as this processor has it when the process dies: only the compiler may reorder.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  *static_cast<volatile uint32_t*>(&written.kind) = uint32_t(intent.kind);
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
  auto& all = *intents;
  intents = nullptr;
  all.left.insert(slot);
  if (all.left.size() < INTENT_SLOTS) return;
  for (auto& waiter : all.waiting) waiter.fulfiller->fulfill(nullptr);
  all.waiting.clear();
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
  while (!waiting.empty() && free.size() > 0) {
    auto next = kj::mv(waiting.front());
    waiting.pop_front();
    if (next.fulfiller->isWaiting()) next.fulfiller->fulfill(take(next.intent));
  }
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
