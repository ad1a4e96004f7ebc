// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What this client may answer from its own memory: which cache leases it has (rpc/metaserver.capnp, Leases),
// and the attributes and names that it knows under them. Answers, recalls and own changes overtake each other
// on their way; their stamps put them in order again. INVARIANT: what attributes() and name() answer was so
// at the metaserver at some moment since the lease was granted, and nobody else can have changed it since.
// Bounded: see Limits; what is too much is named by excess() and has to be given back. Pure: the caller
// passes `now`. Called by leases.cc.
#pragma once

#include <kj/time.h>

#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/filesystem.h"

namespace cairn::client {

using LeaseKind = rpc::LeaseKind;

struct LeaseHeld {
  // As in rpc::Lease.
  InodeId inode;
  LeaseKind kind = LeaseKind::NONE;
  uint64_t stamp = 0;
};

class LeaseCache {
 public:
  struct Limits {
    size_t inodesMax = 1 << 16;  // about 16 MiB, and as many at the metaserver
    size_t namesMax = 1 << 18;   // about 32 MiB
  };
  LeaseCache() : LeaseCache(Limits()) {}
  explicit LeaseCache(Limits limits) : limits(limits) {}

  // -- the term
  void renewed(kj::TimePoint sent, kj::Duration term);  // by a call that left at `sent`
  bool isInTerm(kj::TimePoint now) const { return now < termEnd; }
  kj::TimePoint end() const { return termEnd; }

  // -- what answers tell
  void learn(const FileAttributes& attributes);  // with the lease that came with them
  void learnLease(LeaseHeld lease);              // of a directory, beside an answer about a name in it
  void learnName(InodeId directory, kj::StringPtr name, InodeId found, uint64_t stamp);
  // As of `stamp` the name is that inode's; none: there is no such name. After learn() or learnLease() of the
  // directory.
  void forgetName(InodeId directory, kj::StringPtr name,
                  uint64_t stamp);  // it is something else since `stamp`

  void accessed(InodeId inode, Timestamp time);  // the metaserver has been told, and does not tell it back

  // -- what may be answered
  bool allows(InodeId inode, LeaseKind kind,
              kj::TimePoint now) const;  // may something begin under that lease?
  bool has(InodeId inode,
           LeaseKind kind) const;  // also while it is being recalled: what is under way may go on
  kj::Maybe<const FileAttributes&> attributes(InodeId inode, kj::TimePoint now) const;
  kj::Maybe<InodeId> name(InodeId directory, kj::StringPtr name,
                          kj::TimePoint now) const;  // none: it is absent
  bool isCurrent(const FileAttributes& attributes, kj::TimePoint now) const;
  // They came under the lease that is held now.

  // -- recalls
  void recall(InodeId inode, LeaseKind kept,
              uint64_t stamp);   // begins: nothing starts under more than `kept` any more
  void recalled(InodeId inode);  // has been obeyed
  bool isRecalling(InodeId inode) const;
  std::vector<InodeId> voidUpTo(uint64_t stamp);  // also what a later grant went on with  // these are gone
  void refuse(InodeId inode);                     // it is another's
  std::vector<InodeId> lose();                    // the session was fenced: so are all

  std::vector<LeaseHeld> held() const;  // for resuming the session
  std::vector<LeaseHeld> excess();
  // Those used longest ago that are too many, as leases to give back; each is being recalled from now on.
  kj::Maybe<LeaseHeld> lower(InodeId inode);
  // From write to read, of our own accord: as lease to give back. Null: there is nothing to lower.

  size_t inodes() const { return entries.size(); }
  size_t names() const { return namesTotal; }
  void checkInvariants() const;

 private:
  struct Name {
    InodeId inode;
    uint64_t stamp;
  };
  struct Entry {
    LeaseKind kind = LeaseKind::NONE;
    uint64_t stamp = 0;                // of the newest answer that told it
    uint64_t since = 0;                // stamp of the grant before which it had none
    uint64_t recallStamp = 0;          // of the newest recall: grants up to it are void
    unsigned recalls = 0;              // being obeyed
    LeaseKind kept = LeaseKind::NONE;  // what they leave
    kj::Maybe<FileAttributes> attributes;
    std::map<std::string, Name, std::less<>> names;
    uint64_t changeStamp =
        0;  // of what is no longer in `names`: older answers about a name without an entry do not count
    std::list<InodeId>::iterator place;  // in `byUse`
  };
  Limits limits;
  std::unordered_map<InodeId, Entry> entries;
  mutable std::list<InodeId> byUse;  // oldest first
  size_t namesTotal = 0;
  uint64_t forgottenStamp = 0;  // the highest recallStamp of entries that are no more
  kj::TimePoint termEnd = kj::origin<kj::TimePoint>();

  Entry& entryOf(InodeId inode);
  const Entry* find(InodeId inode) const;
  LeaseKind effective(const Entry& entry) const;
  void grant(Entry& entry, LeaseKind kind, uint64_t stamp);
  void forgetContent(Entry& entry);
  void dropNames(Entry& entry);
  void erase(InodeId inode);
};

}  // namespace cairn::client
