// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What POSIX lets system calls on a handful of names answer when many processes make them at once: the model
// for test/support/linearizability.h. A call that the kernel makes of several looks (a path walk, then
// attributes) is written down as so many calls of the same time; a refusal only claims what it says of one
// name.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace cairn::e2e {

struct TreeCall {
  enum class Kind : uint8_t {
    LOOK,         // `name` leads to `inode` of `type`
    STAT,         // `inode` has `links` and, when it is a file, `size`
    CREATE,       // open(O_CREAT | O_EXCL): makes `inode`
    CREATE_OPEN,  // open(O_CREAT): makes or finds `inode`
    OPEN,         // open: finds `inode`
    MAKE_DIRECTORY,
    UNLINK,
    REMOVE_DIRECTORY,
    WALK,        // RENAME or EXCHANGE of `name` begins, of the same time: from now on the kernel looks for it
    RENAME,      // `name` to `other`
    RENAME_NEW,  // RENAME_NOREPLACE
    EXCHANGE,    // RENAME_EXCHANGE
    LINK,        // the open `inode` gets `name`
    APPEND,      // `record` to `inode`
    READ,        // all of `inode`: `size` bytes with the digest `content`
    EMPTY,       // ftruncate(0)
  };
  static constexpr size_t RECORD = 16;  // bytes

  uint64_t begin = 0, end = 0;  // CLOCK_MONOTONIC, ns
  Kind kind = Kind::LOOK;
  uint8_t process = 0;
  uint8_t group = 0;            // of names; calls of different groups have nothing in common
  uint8_t name = 0, other = 0;  // within the group
  bool directory = false;       // LOOK: the type
  bool ownChange = false;       // see markOwnChanges()
  int error = 0;                // errno, 0
  uint64_t inode = 0;           // st_ino; LOOK: 0 when there is no such name
  uint64_t links = 0, size = 0;
  uint64_t content = 0;
  std::array<char, RECORD> record = {};
  static constexpr uint64_t UNKNOWN = UINT64_MAX;
  uint64_t position =
      UNKNOWN;  // APPEND: where a read has shown the record. READ: of its bytes, among all that were read
};

uint64_t digest(uint64_t before, const char* bytes, size_t count);  // of a content; 0 is that of an empty one
std::string describe(const TreeCall& call);

void markOwnChanges(std::vector<TreeCall>& calls, unsigned mounts);
// Process p is on mount p % mounts. While a mount changes a name, its kernel goes on answering from what it
// has cached of that name, and of the links of its inode, until it has the answer, though others may have
// seen the change already: what it says of these then proves nothing. (Which inode that is, it cannot know:
// of no inode of the group are the links judged meanwhile.)

std::string placeAppends(std::vector<TreeCall>& calls, const char* bytes);
// Tells each append where the reads have shown its record, for every record is written once and stays where
// it is. Returns what is wrong by itself: a record that was never written, is torn, or is shown at two
// places; "" if nothing is.

class TreeModel {
 public:
  static constexpr size_t NAMES = 4;  // of a group
  using Call = TreeCall;

  struct Inode {
    uint64_t number = 0;
    uint64_t size = 0, content = 0;
    bool directory = false;
    bool forgotten = false;  // nobody asks about it any more: goes with its last name
    bool operator==(const Inode&) const = default;
  };
  struct State {
    std::array<uint64_t, NAMES> names = {};  // inode number; 0: no such name
    std::vector<Inode> inodes;               // by number
    // What a name has led to since a process began to rename it, in order. Of two names of one file the
    // kernel makes no request; and it looks for them one after the other, so that they may have been that at
    // two moments.
    struct Walk {
      uint8_t process = 0, name = 0;
      uint64_t inode = 0;
      auto operator<=>(const Walk&) const = default;
    };
    std::vector<Walk> walked;
    bool operator==(const State&) const = default;
  };

  // `calls`: all that will be checked, to know when an inode is asked about for the last time.
  explicit TreeModel(const std::vector<TreeCall>& calls = {});

  std::vector<State> apply(const State& state, const Call& call) const;
  bool onlyLooks(const Call& call) const;
  void ended(State& state, const Call& call) const;
  size_t hash(const State& state) const;

 private:
  bool carryOut(State& state, const Call& call) const;

  std::vector<std::pair<uint64_t, uint64_t>> lastEnds;  // (inode, end of the last call that names it), sorted
};

std::string describe(const TreeModel::State& state);

}  // namespace cairn::e2e
