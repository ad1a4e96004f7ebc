// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See differ_subject.h.
#include "test/e2e/differ_subject.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <stdexcept>

namespace cairn::e2e {

namespace {

const char* const PATHS[] = {"a",     "b", "d",   "d/a", "d/b", "d/e", "d/e/a",
                             "d/e/b", "g", "g/a", "g/d", "l",   "d/l"};
const char* const TARGETS[] = {"a", "d", "l", "missing", "../a", "e", "d/e/a", "."};
const char* const XATTRS[] = {"user.one", "user.two", "trusted.three", "user.", "security.four"};
const mode_t MODES[] = {0644, 0755, 0600, 0777, 0, 04755, 02755, 01777, 02644, 06711};
const uint32_t IDS[] = {0, 12301, 12302, uint32_t(-1)};
constexpr unsigned PATH_COUNT = sizeof PATHS / sizeof *PATHS;
constexpr size_t SIZE_MAX_READ = 300000;

using enum Call;

// How often each is chosen.
const unsigned WEIGHTS[unsigned(CALLS)] = {24, 12, 8, 10, 12, 20, 8, 6, 4, 5, 9, 5, 8, 14, 7, 5, 2, 6,
                                           5,  5,  3, 5,  3,  2,  2, 3, 4, 4, 4, 4, 8, 2,  2, 7, 3, 3};

const int OPEN_FLAGS[] = {O_RDWR | O_CREAT,
                          O_RDWR | O_CREAT | O_EXCL,
                          O_RDONLY,
                          O_WRONLY,
                          O_RDWR,
                          O_RDWR | O_CREAT | O_TRUNC,
                          O_WRONLY | O_APPEND | O_CREAT,
                          O_RDONLY | O_DIRECTORY,
                          O_RDWR | O_NOFOLLOW,
                          O_RDWR | O_TRUNC,
                          O_RDONLY | O_TRUNC,
                          O_WRONLY | O_SYNC | O_CREAT,
                          O_RDWR | O_APPEND};
const unsigned RENAME_FLAGS[] = {0, 0, 0, 1 /* NOREPLACE */, 2 /* EXCHANGE */, 3, 4 /* WHITEOUT */};
const int ALLOCATE_MODES[] = {0,   1 /* KEEP_SIZE */, 3 /* PUNCH_HOLE */, 0x10 /* ZERO_RANGE */, 0x11, 2, 8,
                              0x20};

struct AclEntry {
  uint16_t tag, permissions;
  uint32_t id;
};
enum AclTag : uint16_t { OWNER = 1, USER = 2, GROUP_OWNER = 4, GROUP = 8, MASK = 16, OTHER = 32 };
constexpr uint32_t NO_ID = uint32_t(-1);
const std::vector<AclEntry> ACLS[] = {
    {{OWNER, 7, NO_ID}, {GROUP_OWNER, 5, NO_ID}, {OTHER, 4, NO_ID}},  // says no more than a mode
    {{OWNER, 6, NO_ID}, {USER, 7, 12301}, {GROUP_OWNER, 4, NO_ID}, {MASK, 6, NO_ID}, {OTHER, 0, NO_ID}},
    {{OWNER, 7, NO_ID},
     {USER, 5, 12302},
     {GROUP_OWNER, 7, NO_ID},
     {GROUP, 7, 12309},
     {MASK, 7, NO_ID},
     {OTHER, 1, NO_ID}},
    {{OWNER, 0, NO_ID}, {GROUP_OWNER, 0, NO_ID}, {GROUP, 6, 12309}, {MASK, 4, NO_ID}, {OTHER, 7, NO_ID}},
    {},                                                                                 // none
    {{OWNER, 7, NO_ID}, {USER, 7, 12301}, {GROUP_OWNER, 5, NO_ID}, {OTHER, 4, NO_ID}},  // lacks its mask
};

std::string encoded(const std::vector<AclEntry>& acl) {
  // linux/posix_acl_xattr.h: a version, and the entries.
  std::string bytes("\2\0\0\0", 4);
  for (auto& entry : acl) bytes.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  return bytes;
}

const char* aclName(const Step& step) {
  return step.b % 2 ? "system.posix_acl_default" : "system.posix_acl_access";
}

uint64_t hashOf(const char* bytes, size_t size) {
  uint64_t hash = 1469598103934665603u;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ uint8_t(bytes[i])) * 1099511628211u;
  return hash;
}

std::string contentOf(uint64_t seed, size_t size) {
  std::string bytes(size, '\0');
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (size_t i = 0; i < size; ++i) {
    if (i % 8 == 0) state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    bytes[i] = char(state >> (i % 8 * 8));
  }
  return bytes;
}

class As {
  // The thread acts as another user for a while: permission to files only, as NFS servers do it, and without
  // any capability, as other users are.
 public:
  explicit As(unsigned user) : other(user != 0) {
    if (!other) return;
    gid_t group = 12309;
    syscall(SYS_setgroups, user == 1 ? 1 : 0, &group);
    setfsgid(12300 + user);
    setfsuid(12300 + user);
    syscall(SYS_capget, &header, kept);
    struct __user_cap_data_struct none[2] = {kept[0], kept[1]};
    none[0].effective = none[1].effective = 0;
    syscall(SYS_capset, &header, none);
  }
  ~As() {
    if (!other) return;
    syscall(SYS_capset, &header, kept);
    setfsuid(0);
    setfsgid(0);
    syscall(SYS_setgroups, 0, nullptr);
  }

 private:
  const bool other;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct kept[2] = {};
};

std::string answer(long result) {
  return result < 0 ? "errno " + std::to_string(errno) : std::to_string(result);
}

std::string answerWith(long result, const char* bytes) {
  if (result < 0) return answer(result);
  return answer(result) + " hash " + std::to_string(hashOf(bytes, size_t(result)));
}

std::string shown(const struct stat& status) {
  char text[200];
  bool sized = S_ISREG(status.st_mode) || S_ISLNK(status.st_mode);
  snprintf(text, sizeof text, "mode %o links %lu uid %u gid %u size %lld device %lu", status.st_mode,
           (unsigned long)status.st_nlink, status.st_uid, status.st_gid,
           sized ? (long long)status.st_size : -1LL, (unsigned long)status.st_rdev);
  return text;
}

std::string parentOf(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

bool usesPath(Call call) {
  switch (call) {
    case CLOSE:
    case READ:
    case PREAD:
    case WRITE:
    case PWRITE:
    case FTRUNCATE:
    case SEEK:
    case FSYNC:
    case MAP:
    case COPY:
    case ALLOCATE:
    case FCHMOD:
    case FCHOWN:
      return false;
    default:
      return true;
  }
}

}  // namespace

Step randomStep(std::mt19937_64& random, Reach reach) {
  auto below = [&](uint64_t end) { return random() % end; };
  unsigned total = 0;
  for (auto weight : WEIGHTS) total += weight;
  auto choice = below(total);
  unsigned call = 0;
  while (choice >= WEIGHTS[call]) choice -= WEIGHTS[call++];
  Step step{.call = Call(call)};
  step.user = below(4) == 0 ? unsigned(1 + below(2)) : 0;
  step.a = unsigned(below(60));
  step.b = unsigned(below(60));
  constexpr uint64_t NEAR_ENDS[] = {16, 5000, 5000, 140000};
  step.x = below(NEAR_ENDS[below(4)]);
  step.y = below(NEAR_ENDS[below(4)]);
  if (below(4) == 0) step.x &= ~4095ull;
  if (below(6) == 0) step.y &= ~4095ull;
  if (reach == Reach::FAR && below(3) == 0) step.x += (64 << 20) - 70000;
  return step;
}

unsigned Step::renameFlags() const {
  return RENAME_FLAGS[x % 7];
}

bool Step::changesNoOwner() const {
  return IDS[x % 4] == uint32_t(-1) && IDS[y % 4] == uint32_t(-1);
}

std::string describe(const Step& step) {
  std::string a = PATHS[step.a % PATH_COUNT], b = PATHS[step.b % PATH_COUNT];
  auto x = std::to_string(step.x), y = std::to_string(step.y);
  auto slot = "fd" + std::to_string(step.a % 5), other = "fd" + std::to_string(step.b % 5);
  auto who = step.user == 0 ? std::string() : "user " + std::to_string(step.user) + ": ";
  char text[64];
  switch (step.call) {
    case OPEN:
      snprintf(text, sizeof text, "0%o, 0%o", OPEN_FLAGS[step.x % 13], MODES[step.y % 10]);
      return who + other + " = open(" + a + ", " + text + ")";
    case CLOSE:
      return who + "close(" + slot + ")";
    case READ:
      return who + "read(" + slot + ", " + y + ")";
    case PREAD:
      return who + "pread(" + slot + ", " + y + ", at " + x + ")";
    case WRITE:
      return who + "write(" + slot + ", " + y + ")";
    case PWRITE:
      return who + "pwrite(" + slot + ", " + y + ", at " + x + ")";
    case FTRUNCATE:
      return who + "ftruncate(" + slot + ", " + x + ")";
    case TRUNCATE:
      return who + "truncate(" + a + ", " + x + ")";
    case SEEK:
      return who + "lseek(" + slot + ", " + x + ", " + (step.b % 2 ? "SEEK_END" : "SEEK_SET") + ")";
    case STAT:
      return who + "stat(" + a + ")";
    case MKDIR:
      snprintf(text, sizeof text, "0%o", MODES[step.y % 10]);
      return who + "mkdir(" + a + ", " + text + ")";
    case RMDIR:
      return who + "rmdir(" + a + ")";
    case UNLINK:
      return who + "unlink(" + a + ")";
    case RENAME:
      return who + "renameat2(" + a + ", " + b + ", " + std::to_string(step.renameFlags()) + ")";
    case LINK:
      return who + "link(" + a + ", " + b + ")";
    case SYMLINK:
      return who + "symlink(" + TARGETS[step.x % 8] + ", " + a + ")";
    case READLINK:
      return who + "readlink(" + a + ")";
    case CHMOD:
      snprintf(text, sizeof text, "0%o", MODES[step.y % 10]);
      return who + "chmod(" + a + ", " + text + ")";
    case CHOWN:
      return who + "lchown(" + a + ", " + std::to_string(int(IDS[step.x % 4])) + ", " +
             std::to_string(int(IDS[step.y % 4])) + ")";
    case UTIMES:
      return who + "utimensat(" + a + ", variant " + std::to_string(step.x % 4) + ")";
    case MKNOD:
      return who + "mknod(" + a + ", kind " + std::to_string(step.x % 3) + ")";
    case SETXATTR:
      return who + "setxattr(" + a + ", " + XATTRS[step.x % 5] + ", " + std::to_string(step.y % 600) +
             " bytes, flags " + std::to_string(step.b % 3) + ")";
    case GETXATTR:
      return who + "getxattr(" + a + ", " + XATTRS[step.x % 5] + ", into " + std::to_string(step.y % 600) +
             ")";
    case LISTXATTR:
      return who + "listxattr(" + a + ")";
    case REMOVEXATTR:
      return who + "removexattr(" + a + ", " + XATTRS[step.x % 5] + ")";
    case FSYNC:
      return who + "fsync(" + slot + ")";
    case LIST:
      return who + "list(" + a + ")";
    case ACCESS:
      return who + "access(" + a + ", " + std::to_string(step.x % 8) + ")";
    case MAP:
      return who + "store through a shared mapping(" + slot + ", at " + x + ")";
    case COPY:
      return who + "copy_file_range(" + slot + " at " + x + ", " + other + " at " +
             std::to_string(step.y / 2) + ", " + y + ")";
    case ALLOCATE:
      return who + "fallocate(" + slot + ", " + std::to_string(ALLOCATE_MODES[step.b % 8]) + ", " + x + ", " +
             y + ")";
    case TEMPORARY:
      return who + other + " = open(" + a + ", O_TMPFILE | O_RDWR)";
    case LINKFD:
      return who + "linkat(" + slot + ", " + b + ")";
    case SETACL:
      return who + "setxattr(" + a + ", " + aclName(step) + ", list " + std::to_string(step.x % 6) + ")";
    case FCHMOD:
      snprintf(text, sizeof text, "0%o", MODES[step.y % 10]);
      return who + "fchmod(" + slot + ", " + text + ")";
    case FCHOWN:
      return who + "fchown(" + slot + ", " + std::to_string(int(IDS[step.x % 4])) + ", " +
             std::to_string(int(IDS[step.y % 4])) + ")";
    case CALLS:
      break;
  }
  return "?";
}

Subject::Subject(std::string directory) : root(std::move(directory)) {
  std::fill_n(slots, SLOTS, -1);
  if (mkdir(root.c_str(), 0777) != 0 || chmod(root.c_str(), 0777) != 0) {
    throw std::runtime_error("mkdir " + root + ": " + strerror(errno));
  }
  rootFd = open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

Subject::~Subject() {
  for (auto fd : slots) {
    if (fd >= 0) close(fd);
  }
  close(rootFd);
  std::error_code error;
  std::filesystem::remove_all(root, error);
}

Answer Subject::carryOut(const Step& step) {
  // Paths are relative: what a symlink or ".." names stays below the root or is refused alike.
  std::vector<std::string> before, after;
  watched(step, before);
  std::string result;
  {
    As user(step.user);
    result = call(step);
  }
  auto attributes = watched(step, after);
  std::string moved;
  for (size_t i = 0; i < before.size(); ++i) moved += before[i] == after[i] ? '.' : '+';
  return {result, attributes, moved};
}

std::string Subject::watched(const Step& step, std::vector<std::string>& times) {
  std::string text;
  auto note = [&](const char* what, bool there, const struct stat& status) {
    text += std::string(text.empty() ? "" : "; ") + what + ' ' + (there ? shown(status) : "none");
    // Of something else under the same name the times are new.
    auto inode = there ? std::to_string(status.st_ino) + ' ' : "none ";
    auto time = [&](const struct timespec& spec) {
      return inode + std::to_string(spec.tv_sec) + '.' + std::to_string(spec.tv_nsec);
    };
    times.push_back(there ? time(status.st_mtim) : inode);
    times.push_back(there ? time(status.st_ctim) : inode);
  };
  struct stat status = {};
  auto named = [&](const char* what, const std::string& path) {
    note(what, fstatat(rootFd, path.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0, status);
  };
  if (usesPath(step.call)) {
    std::string a = PATHS[step.a % PATH_COUNT];
    named("a", a);
    named("a/..", parentOf(a));
    if (step.call == RENAME || step.call == LINK || step.call == LINKFD) {
      std::string b = PATHS[step.b % PATH_COUNT];
      named("b", b);
      named("b/..", parentOf(b));
    }
  }
  if (!usesPath(step.call) || step.call == LINKFD) {
    auto fd = slots[step.a % SLOTS];
    note("fd", fd >= 0 && fstat(fd, &status) == 0, status);
  }
  if (step.call == COPY) {
    auto fd = slots[step.b % SLOTS];
    note("other", fd >= 0 && fstat(fd, &status) == 0, status);
  }
  return text;
}

std::string Subject::call(const Step& step) {
  auto a = PATHS[step.a % PATH_COUNT], b = PATHS[step.b % PATH_COUNT];
  int& slot = slots[step.a % SLOTS];
  int& other = slots[step.b % SLOTS];
  auto mode = MODES[step.y % 10];
  auto size = std::min<size_t>(step.y, SIZE_MAX_READ);
  auto offset = off_t(step.x);
  static char buffer[SIZE_MAX_READ];
  auto proc = "/proc/self/fd/" + std::to_string(rootFd) + "/" + a;

  switch (step.call) {
    case OPEN: {
      int fd = openat(rootFd, a, OPEN_FLAGS[step.x % 13] | O_CLOEXEC | O_NONBLOCK, mode);
      if (fd < 0) return answer(fd);
      if (other >= 0) close(other);
      other = fd;
      return "opened";
    }
    case CLOSE: {
      auto result = close(slot);
      slot = -1;
      return answer(result);
    }
    case READ:
      return answerWith(read(slot, buffer, size), buffer);
    case PREAD:
      return answerWith(pread(slot, buffer, size, offset), buffer);
    case WRITE:
      return answer(write(slot, contentOf(step.x, size).data(), size));
    case PWRITE:
      return answer(pwrite(slot, contentOf(step.x, size).data(), size, offset));
    case FTRUNCATE:
      return answer(ftruncate(slot, offset));
    case TRUNCATE:
      return answer(truncate(proc.c_str(), offset));
    case SEEK: {
      struct stat status;
      if (fstat(slot, &status) == 0 && S_ISDIR(status.st_mode))
        return "a directory";  // positions are its own
      return answer(lseek(slot, offset, step.b % 2 ? SEEK_END : SEEK_SET));
    }
    case STAT: {
      struct stat status;
      return answer(fstatat(rootFd, a, &status, 0));
    }
    case MKDIR:
      return answer(mkdirat(rootFd, a, mode));
    case RMDIR:
      return answer(unlinkat(rootFd, a, AT_REMOVEDIR));
    case UNLINK:
      return answer(unlinkat(rootFd, a, 0));
    case RENAME:
      return answer(renameat2(rootFd, a, rootFd, b, step.renameFlags()));
    case LINK:
      return answer(linkat(rootFd, a, rootFd, b, 0));
    case SYMLINK:
      return answer(symlinkat(TARGETS[step.x % 8], rootFd, a));
    case READLINK:
      return answerWith(readlinkat(rootFd, a, buffer, 200), buffer);
    case CHMOD:
      return answer(fchmodat(rootFd, a, mode, 0));
    case CHOWN:
      return answer(fchownat(rootFd, a, IDS[step.x % 4], IDS[step.y % 4], AT_SYMLINK_NOFOLLOW));
    case UTIMES: {
      struct timespec times[2] = {{.tv_sec = time_t(step.y), .tv_nsec = long(step.b) + 1},
                                  {.tv_sec = 77, .tv_nsec = 5}};
      if (step.x % 4 == 1) times[0].tv_nsec = UTIME_OMIT;
      if (step.x % 4 == 2) times[0].tv_nsec = times[1].tv_nsec = UTIME_NOW;
      if (step.x % 4 == 3) times[1].tv_nsec = UTIME_OMIT;
      return answer(utimensat(rootFd, a, times, 0));
    }
    case MKNOD: {
      // The only devices are whiteouts.
      const mode_t kinds[] = {S_IFIFO, S_IFSOCK, S_IFREG};
      return answer(mknodat(rootFd, a, kinds[step.x % 3] | mode, 0));
    }
    case SETXATTR:
      return answer(setxattr(proc.c_str(), XATTRS[step.x % 5], contentOf(step.y, 600).data(), step.y % 600,
                             int(step.b % 3)));
    case GETXATTR:
      return answerWith(getxattr(proc.c_str(), XATTRS[step.x % 5], buffer, step.y % 600), buffer);
    case LISTXATTR: {
      auto listed = listxattr(proc.c_str(), buffer, sizeof buffer);
      if (listed < 0) return answer(listed);
      std::vector<std::string> names;
      for (auto at = buffer; at < buffer + listed; at += names.back().size() + 1) names.push_back(at);
      std::sort(names.begin(), names.end());
      std::string text;
      for (auto& name : names) text += name + ' ';
      return text;
    }
    case REMOVEXATTR:
      return answer(removexattr(proc.c_str(), XATTRS[step.x % 5]));
    case FSYNC:
      return answer(fsync(slot));
    case LIST: {
      int fd = openat(rootFd, a, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0) return answer(fd);
      std::vector<std::string> names;
      auto directory = fdopendir(fd);
      while (auto entry = readdir(directory)) {
        // DT_UNKNOWN would be allowed, so it is not compared.
        names.push_back(entry->d_name);
      }
      closedir(directory);
      std::sort(names.begin(), names.end());
      std::string text = "lists ";
      for (auto& name : names) text += name + ' ';
      return text;
    }
    case ACCESS:
      return answer(syscall(SYS_faccessat2, rootFd, a, int(step.x % 8), AT_EACCESS));
    case MAP: {
      struct stat status;
      if (fstat(slot, &status) != 0) return answer(-1);
      if (!S_ISREG(status.st_mode)) return "not a regular file";
      auto page = offset & ~4095ll;
      if (offset >= status.st_size) return "beyond its end";
      auto memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, slot, page);
      if (memory == MAP_FAILED) return answer(-1);
      static_cast<char*>(memory)[offset - page] = char(step.y);
      auto result = msync(memory, 4096, MS_SYNC);
      munmap(memory, 4096);
      return answer(result);
    }
    case COPY: {
      // From and to positions of one file that overlap are refused by one kernel path and not by another.
      loff_t from = offset, to = off_t(step.y / 2);
      if (step.a % SLOTS == step.b % SLOTS) return "one file";
      struct stat one, two;
      if (fstat(slot, &one) == 0 && fstat(other, &two) == 0 && one.st_ino == two.st_ino) return "one file";
      return answer(copy_file_range(slot, &from, other, &to, size, 0));
    }
    case ALLOCATE: {
      struct stat status;
      if (fstat(slot, &status) == 0 && !S_ISREG(status.st_mode)) return "not a regular file";
      auto wanted = ALLOCATE_MODES[step.b % 8];
      if (wanted == 8 || wanted == 0x20) return "collapse and insert are refused by design";
      return answer(fallocate(slot, wanted, offset, off_t(step.y)));
    }
    case TEMPORARY: {
      int fd = openat(rootFd, a, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
      if (fd < 0) return answer(fd);
      if (other >= 0) close(other);
      other = fd;
      return "opened";
    }
    case LINKFD: {
      auto self = "/proc/self/fd/" + std::to_string(slot);
      if (slot < 0) return "closed";
      return answer(linkat(AT_FDCWD, self.c_str(), rootFd, b, AT_SYMLINK_FOLLOW));
    }
    case SETACL: {
      auto bytes = encoded(ACLS[step.x % 6]);
      return answer(setxattr(proc.c_str(), aclName(step), bytes.data(), bytes.size(), 0));
    }
    case FCHMOD:
      return answer(fchmod(slot, mode));
    case FCHOWN:
      return answer(fchown(slot, IDS[step.x % 4], IDS[step.y % 4]));
    case CALLS:
      break;
  }
  return "?";
}

std::string Subject::everything() {
  std::string text;
  for (unsigned i = 0; i < SLOTS; ++i) {
    struct stat status;
    if (slots[i] >= 0 && fstat(slots[i], &status) == 0)
      text += "fd" + std::to_string(i) + ' ' + shown(status) + '\n';
  }
  listInto("", text);
  return text;
}

void Subject::listInto(const std::string& path, std::string& text) {
  auto full = root + path;
  struct stat status;
  if (lstat(full.c_str(), &status) != 0) {
    text += path + ": " + strerror(errno) + '\n';
    return;
  }
  text += path + ": " + shown(status);
  char buffer[70000];
  if (S_ISLNK(status.st_mode)) {
    text += " -> " + answerWith(readlink(full.c_str(), buffer, sizeof buffer), buffer);
  } else if (S_ISREG(status.st_mode)) {
    int fd = open(full.c_str(), O_RDONLY | O_CLOEXEC);
    uint64_t hash = 0;
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0) {
      bool zeros = buffer[0] == 0 && memcmp(buffer, buffer + 1, size_t(got) - 1) == 0;
      hash = hash * 31 + (zeros ? uint64_t(got) : hashOf(buffer, size_t(got)));
    }
    if (got < 0) text += std::string(" read: ") + strerror(errno);
    text += " content " + std::to_string(hash);
    if (fd >= 0) close(fd);
  }
  auto names = llistxattr(full.c_str(), buffer, sizeof buffer);
  std::vector<std::string> attributes;
  for (auto at = buffer; names > 0 && at < buffer + names; at += strlen(at) + 1) {
    char value[1000];
    attributes.push_back(std::string(at) + '=' +
                         answerWith(lgetxattr(full.c_str(), at, value, sizeof value), value));
  }
  std::sort(attributes.begin(), attributes.end());
  for (auto& attribute : attributes) text += ' ' + attribute;
  text += '\n';
  if (!S_ISDIR(status.st_mode)) return;
  std::vector<std::string> entries;
  if (auto directory = opendir(full.c_str())) {
    while (auto entry = readdir(directory)) entries.push_back(entry->d_name);
    closedir(directory);
  }
  std::sort(entries.begin(), entries.end());
  for (auto& entry : entries) {
    if (entry != "." && entry != "..") listInto(path + '/' + entry, text);
  }
}

}  // namespace cairn::e2e
