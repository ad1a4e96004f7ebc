// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// One side of the differ: a directory, a few open files in it, and system calls named by small numbers, so
// that the same list of steps can be carried out on two filesystems and told apart by nothing but what a
// program sees. INVARIANT: what a step answers depends on the steps before it and on the filesystem only;
// whatever differs between two sound filesystems (inode numbers, times as such, sizes of directories) is not
// in it.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace cairn::e2e {

enum class Call : unsigned {
  OPEN,
  CLOSE,
  READ,
  PREAD,
  WRITE,
  PWRITE,
  FTRUNCATE,
  TRUNCATE,
  SEEK,
  STAT,
  MKDIR,
  RMDIR,
  UNLINK,
  RENAME,
  LINK,
  SYMLINK,
  READLINK,
  CHMOD,
  CHOWN,
  UTIMES,
  MKNOD,
  SETXATTR,
  GETXATTR,
  LISTXATTR,
  REMOVEXATTR,
  FSYNC,
  LIST,
  ACCESS,
  MAP,
  COPY,
  ALLOCATE,
  TEMPORARY,
  LINKFD,
  SETACL,
  FCHMOD,
  FCHOWN,
  CALLS
};

struct Step {
  // A system call. What `a`, `b`, `x`, `y` mean is up to `call`: paths, slots of open files, offsets, modes.
  Call call = Call::OPEN;
  unsigned user = 0;  // 0: root; others have no privileges
  unsigned a = 0, b = 0;
  uint64_t x = 0, y = 0;

  unsigned renameFlags() const;  // of a RENAME
  bool changesNoOwner() const;   // of a CHOWN or FCHOWN: it gives -1 for both
};

struct Answer {
  std::string result;      // with errno and data
  std::string attributes;  // of everything that the step named, after it, with "; " between
  std::string times;       // of modification and of change of each of these: '+' it has moved, '.' it has not

  bool operator==(const Answer&) const = default;
  std::string text() const { return result + " | " + attributes + " | times " + times; }
};

enum class Reach { NEAR, FAR };  // FAR: also around the boundary of two chunks

Step randomStep(std::mt19937_64& random, Reach reach);
std::string describe(const Step& step);  // as a C program would write it

class Subject {
 public:
  explicit Subject(std::string directory);  // is made; removed with all that is in it at the end
  ~Subject();
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  Answer carryOut(const Step& step);

  std::string everything();  // names, attributes, contents, extended attributes of the whole tree

 private:
  static constexpr unsigned SLOTS = 5;
  std::string root;
  int rootFd = -1;
  int slots[SLOTS];

  std::string call(const Step& step);
  std::string watched(const Step& step, std::vector<std::string>& times);
  void listInto(const std::string& path, std::string& text);
};

}  // namespace cairn::e2e
