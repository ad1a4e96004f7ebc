// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a file may contain, given what was done to it: the judge of every simulated read.
// A write is a number; the byte that write w puts at offset o is a function of both, so the oracle remembers
// which writes may be seen where, and no bytes. A write is in doubt from the moment it is called until a
// flush that came after it has returned: till then any reader but the writer may see it or what was there
// before. INVARIANT: the last candidate of a range is what the writer itself sees; a certain range has
// exactly one.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace cairn::sim {

using WriteNumber = uint32_t;     // from 1
constexpr WriteNumber ZEROS = 0;  // a hole, or beyond a truncate

kj::byte byteOf(WriteNumber write, uint64_t offset);
void fillWith(WriteNumber write, uint64_t offset, kj::ArrayPtr<kj::byte> bytes);

enum class Viewer {
  WRITER,  // the client that wrote: sees its own writes at once
  OTHER,   // opened the file after the last flush
};

class FileOracle {
 public:
  void write(uint64_t offset, uint64_t size, WriteNumber write);
  void truncate(uint64_t size);  // when it is called: in doubt
  void settle();                 // a flush has returned: all before it is certain
  void lose();  // the writer has died or was refused: nothing certain is added; nobody is writer

  enum class Lengths { CERTAIN, IN_DOUBT };
  void interrupt(Lengths lengths = Lengths::CERTAIN);
  // Machines have lost their power: what is not settled may be old again, for the writer too. IN_DOUBT: its
  // length may be, as well.
  bool isInterrupted() const;  // something that is not settled may be old for that reason
  void giveUp();  // and a sync has said so: that will not be settled, whatever succeeds from now on

  uint64_t size() const { return sizes.back(); }  // as the writer sees it
  std::optional<kj::String> judge(Viewer viewer, uint64_t offset, uint64_t asked,
                                  kj::ArrayPtr<const kj::byte> got) const;
  // Nothing when the read is right, else a sentence that says what is wrong with it. Less than `asked`: end
  // of file.

  std::optional<kj::String> judgeSize(Viewer viewer, uint64_t got) const;

 private:
  struct Range {
    uint64_t end;
    std::vector<WriteNumber> candidates;
    enum class Doubt { NONE, INTERRUPTED, GIVEN_UP } doubt = Doubt::NONE;  // of more than one candidate
  };
  std::map<uint64_t, Range>
      ranges;  // by start; without gaps up to the largest candidate size; not in it: zeros
  std::vector<uint64_t> sizes = {0};  // candidates, the last is the writer's
  Range::Doubt sizeDoubt = Range::Doubt::NONE;
  uint64_t writtenEnd = 0;  // by writes since the length was given up
  bool lost = false;

  void split(uint64_t at);
  void add(uint64_t start, uint64_t end, WriteNumber write);
};

}  // namespace cairn::sim
