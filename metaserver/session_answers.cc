// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/session_answers.h"

#include <kj/debug.h>

#include <memory>

#include "metaserver/keys.h"

namespace cairn {

void SessionAnswers::load(rocksdb::DB& db) {
  std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(rocksdb::ReadOptions()));
  Key all(Table::SESSIONS);
  for (it->Seek(all.view()); it->Valid() && it->key().starts_with(all.view()); it->Next()) {
    opened(SessionId(KeyReader(it->key().ToStringView()).number()));
  }
  Key answers(Table::ANSWERS);
  for (it->Seek(answers.view()); it->Valid() && it->key().starts_with(answers.view()); it->Next()) {
    KeyReader reader(it->key().ToStringView());
    auto& session = sessions[SessionId(reader.number())];
    session.sequences.insert(reader.number());
    session.answered = kj::max(session.answered, decodeAnswer(it->value().ToStringView()).answered);
  }
  checkRead(it->status());
}

void SessionAnswers::closed(SessionId session, Transaction& transaction) {
  auto found = sessions.find(session);
  KJ_REQUIRE(found != sessions.end());
  for (auto sequence : found->second.sequences) transaction.dropAnswer(session, sequence);
  sessions.erase(found);
}

kj::Maybe<Outcome> SessionAnswers::before(SessionId session, rpc::Change::Reader change,
                                          Transaction& transaction) {
  auto found = sessions.find(session);
  if (found == sessions.end()) return refusal(Status::SESSION_EXPIRED);
  auto& remembered = found->second;
  uint64_t sequence = change.getSequence();
  if (sequence == 0 || sequence <= remembered.answered) return refusal(Status::INVALID);
  if (remembered.sequences.count(sequence) > 0) {
    return KJ_REQUIRE_NONNULL(transaction.answer(session, sequence)).outcome;
  }
  if (remembered.sequences.size() >= ANSWERS_MAX && change.getAnswered() <= remembered.answered) {
    return refusal(Status::BUSY);
  }
  return nullptr;
}

void SessionAnswers::remember(SessionId session, rpc::Change::Reader change, const Outcome& outcome,
                              Transaction& transaction) {
  auto& remembered = sessions.at(session);
  uint64_t answered = kj::min(change.getAnswered(), change.getSequence() - 1);
  remembered.answered = kj::max(remembered.answered, answered);
  auto& sequences = remembered.sequences;
  while (!sequences.empty() && *sequences.begin() <= remembered.answered) {
    transaction.dropAnswer(session, *sequences.begin());
    sequences.erase(sequences.begin());
  }
  sequences.insert(sequences.end(), change.getSequence());
  transaction.putAnswer(session, change.getSequence(), {outcome, remembered.answered});
}

}  // namespace cairn
