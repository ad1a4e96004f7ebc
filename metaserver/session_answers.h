// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Which answers of which session are remembered: what makes a repeated change harmless. The answers
// themselves are rows of the namespace store; this is the index of them in memory, so that a new change (the
// usual case) costs no read, and an acknowledged one no scan. Rebuilt from the rows at start; part of
// apply(), so deterministic.
#pragma once

#include <kj/common.h>

#include <map>
#include <set>

#include "metaserver/transaction.h"

namespace cairn {

constexpr size_t ANSWERS_MAX = 65'536;  // a session that acknowledges nothing is refused beyond it: BUSY

class SessionAnswers {
 public:
  void load(rocksdb::DB& db);

  void opened(SessionId session) { sessions[session]; }
  void closed(SessionId session, Transaction& transaction);
  bool knows(SessionId session) const { return sessions.count(session) > 0; }

  kj::Maybe<Outcome> before(SessionId session, rpc::Change::Reader change, Transaction& transaction);
  // The answer without applying it: the remembered one, or a refusal. Null: it is new, apply it.

  void remember(SessionId session, rpc::Change::Reader change, const Outcome& outcome,
                Transaction& transaction);

 private:
  struct Remembered {
    uint64_t answered = 0;         // the session has all answers up to this one: forgotten
    std::set<uint64_t> sequences;  // with a row in the store
  };
  std::map<SessionId, Remembered> sessions;
};

}  // namespace cairn
