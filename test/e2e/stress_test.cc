// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Four mounts, eight processes on each, one small tree: everybody creates, renames, links, unlinks, appends,
// truncates, lists, locks and maps the same few files at once. No call may hang, and one order of all calls
// must explain all answers. CAIRN_STRESS_SECONDS, CAIRN_STRESS_SEED: for longer, and otherwise.
#include <dirent.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <map>
#include <random>
#include <set>

#include "test/e2e/mounts_fixture.h"
#include "test/e2e/tree_model.h"
#include "test/support/linearizability.h"

namespace cairn::e2e {
namespace {

using Kind = TreeCall::Kind;

constexpr unsigned MOUNTS = 4, PROCESSES = 8;  // on each
constexpr unsigned GROUPS = 6;                 // of names that are used together
constexpr size_t READS = 256 << 20;            // bytes, that one process reads at most
constexpr size_t CALLS = 400'000;              // of one process, at most
constexpr uint64_t FULL = 3000;  // bytes, from which a file is emptied: all of it stays in one page

uint64_t now() {
  struct timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return uint64_t(time.tv_sec) * 1'000'000'000 + uint64_t(time.tv_nsec);
}

struct Shared {
  // What the processes know of each other without the filesystem.
  std::atomic<uint64_t> counter{0};  // the number in the locked file, written under its lock only
  std::atomic<int> holders{0};       // of that lock
  std::atomic<uint64_t> stale{0};    // calls that were made again because of ESTALE
  std::atomic<bool> stop{false};
  struct Process {
    std::atomic<uint64_t> calls{0};      // in its part of the history
    std::atomic<uint64_t> logged{0};     // records in the common log
    std::atomic<uint64_t> since{0};      // begin of the call it is in, of any kind
    std::atomic<const char*> doing{""};  // that call: a literal, which lies at one address in all of them
    char failure[240] = {};              // the first answer that is wrong by itself
  } processes[MOUNTS * PROCESSES];
};

class Worker {
  // One of the processes. Writes down what it calls and what it is answered; judges only what needs no
  // history.
 public:
  struct Reads {
    // What has been read, by all processes; each has a part of its own.
    char* all;
    uint64_t used, end;
    bool hasRoom() const { return end - used > 64 * 4096; }
  };
  Worker(std::string root, unsigned number, uint64_t seed, Shared& shared, TreeCall* history, Reads reads)
      : root(std::move(root)),
        number(number),
        random(seed * 1000 + number),
        shared(shared),
        me(shared.processes[number]),
        history(history),
        reads(reads) {}

  void run() {
    while (!shared.stop && count + 64 < CALLS && reads.hasRoom() && me.failure[0] == 0) {
      group = uint8_t(random() % GROUPS);
      auto choice = random() % 100;
      if (choice < 30) {
        useFile();
      } else if (choice < 90) {
        useNames(choice);
      } else if (choice < 95) {
        countUnderLock();
      } else {
        log();
      }
    }
    me.since = 0;
  }

 private:
  const std::string root;
  const unsigned number;
  std::mt19937_64 random;
  Shared& shared;
  Shared::Process& me;
  TreeCall* const history;
  Reads reads;
  uint64_t count = 0, serial = 0;
  uint8_t group = 0;

  bool hasDirectories() const { return group % 2 == 0; }  // some groups are of files only
  uint8_t anyName() { return uint8_t(random() % TreeModel::NAMES); }
  std::string directoryOf(uint8_t name) const {
    // Half of a group's names are in each of two directories, so that renames move between directories.
    return root + "/g" + std::to_string(group) + (name < TreeModel::NAMES / 2 ? "/x" : "/y");
  }
  std::string pathOf(uint8_t name) const {
    return directoryOf(name) + "/" + std::string(1, char('a' + name));
  }

  void fail(const char* what, int64_t value) {
    if (me.failure[0] == 0)
      snprintf(me.failure, sizeof me.failure, "process %u: %s (%ld)", number, what, long(value));
  }
  void note(const TreeCall& call) {
    history[count++] = call;
    me.calls.store(count, std::memory_order_release);
  }

  // Makes one system call; `call` gets its times and its errno. What the call returned, -1 for an error.
  template <typename Function>
  auto timed(TreeCall& call, const char* doing, Function&& function) {
    me.doing = doing;
    call.process = uint8_t(number);
    call.group = group;
    call.begin = now();
    me.since = call.begin;
    auto result = function();
    while (result < 0 && errno == ESTALE && hasDirectories()) {
      // Linux says so, without asking us, when a directory that another mount has moved is found under its
      // new name while something else is renamed here (d_splice_alias).
      ++shared.stale;
      result = function();
    }
    call.error = result < 0 ? errno : 0;
    call.end = now();
    me.since = 0;
    return result;
  }

  bool identify(int fd, TreeCall& opened) {
    // The open file's inode number for the call that has opened it, and its attributes as a call of their
    // own.
    TreeCall stat = {.kind = Kind::STAT};
    struct stat status;
    if (timed(stat, "fstat", [&]() { return ::fstat(fd, &status); }) != 0) {
      fail("fstat of an open file", stat.error);
      return false;
    }
    opened.inode = stat.inode = status.st_ino;
    stat.links = status.st_nlink;
    stat.size = uint64_t(status.st_size);
    note(opened);
    note(stat);
    return true;
  }

  void useFile() {
    // Opens or creates a file, and works on it for a while whatever happens to its names.
    TreeCall open = {.kind = Kind::OPEN, .name = anyName()};
    int flags = O_RDWR | O_APPEND;
    switch (random() % 4) {
      case 0:
        open.kind = Kind::CREATE, flags |= O_CREAT | O_EXCL;
        break;
      case 1:
        open.kind = Kind::CREATE_OPEN, flags |= O_CREAT;
        break;
    }
    auto path = pathOf(open.name);
    int fd = timed(open, "open", [&]() { return ::open(path.c_str(), flags, 0644); });
    if (fd < 0) return note(open);
    bool going = identify(fd, open);
    for (auto steps = going ? random() % 6 : 0; steps > 0; --steps) useOpen(fd, open.inode);
    TreeCall close;
    if (timed(close, "close", [&]() { return ::close(fd); }) != 0) fail("close", close.error);
  }

  void useOpen(int fd, uint64_t inode) {
    TreeCall call = {.inode = inode};
    switch (random() % 8) {
      default:
        return append(fd, call);
      case 0:
      case 1: {
        call.kind = Kind::READ;
        char bytes[4096];
        auto got = timed(call, "read", [&]() { return ::pread(fd, bytes, sizeof bytes, 0); });
        if (got < 0) return fail("read", call.error);
        call.size = uint64_t(got);
        call.content = digest(0, bytes, size_t(got));
        call.position = reads.used;
        std::copy_n(bytes, got, reads.all + reads.used);
        reads.used += uint64_t(got);
        return note(call);
      }
      case 2: {
        call.kind = Kind::STAT;
        struct stat status;
        if (timed(call, "fstat", [&]() { return ::fstat(fd, &status); }) != 0)
          return fail("fstat", call.error);
        call.links = status.st_nlink;
        call.size = uint64_t(status.st_size);
        return note(call);
      }
      case 3: {
        call.kind = Kind::LINK;
        call.name = anyName();
        auto path = pathOf(call.name);
        timed(call, "linkat", [&]() { return ::linkat(fd, "", AT_FDCWD, path.c_str(), AT_EMPTY_PATH); });
        return note(call);
      }
    }
  }

  void append(int fd, TreeCall& call) {
    struct stat status;
    if (::fstat(fd, &status) == 0 && uint64_t(status.st_size) > FULL) {
      call.kind = Kind::EMPTY;
      if (timed(call, "ftruncate", [&]() { return ::ftruncate(fd, 0); }) != 0)
        return fail("ftruncate", call.error);
      return note(call);
    }
    call.kind = Kind::APPEND;
    char text[TreeCall::RECORD + 1];
    snprintf(text, sizeof text, "%2u:%011lu\n.", number, static_cast<unsigned long>(serial++));
    memcpy(call.record.data(), text, TreeCall::RECORD);
    auto written = timed(call, "append", [&]() { return ::write(fd, text, TreeCall::RECORD); });
    if (written != ssize_t(TreeCall::RECORD)) return fail("append", call.error);
    note(call);
  }

  void useNames(uint64_t choice) {
    if (choice < 40) return look();
    if (choice < 45) return list();
    if (choice < 52) return hasDirectories() ? makeDirectory() : look();
    TreeCall call = {.name = anyName()};
    call.other = uint8_t((call.name + 1 + random() % (TreeModel::NAMES - 1)) % TreeModel::NAMES);
    auto from = pathOf(call.name), to = pathOf(call.other);
    if (choice < 62) {
      call.kind = Kind::UNLINK;
      timed(call, "unlink", [&]() { return ::unlink(from.c_str()); });
    } else if (choice < 66) {
      call.kind = Kind::REMOVE_DIRECTORY;
      timed(call, "rmdir", [&]() { return ::rmdir(from.c_str()); });
    } else {
      auto flags = choice < 80 ? 0 : choice < 85 ? RENAME_NOREPLACE : RENAME_EXCHANGE;
      call.kind = choice < 80 ? Kind::RENAME : choice < 85 ? Kind::RENAME_NEW : Kind::EXCHANGE;
      timed(call, "rename",
            [&]() { return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), unsigned(flags)); });
    }
    if (call.error == 0 && (call.kind == Kind::RENAME || call.kind == Kind::EXCHANGE)) {
      auto walk = call;
      walk.kind = Kind::WALK;
      note(walk);
    }
    note(call);
  }

  void look() {
    // The walk to the name and the look at the inode are two moments, in whatever order: attributes may be
    // known before.
    TreeCall walk = {.kind = Kind::LOOK, .name = anyName()};
    struct stat status;
    auto path = pathOf(walk.name);
    timed(walk, "stat", [&]() { return ::lstat(path.c_str(), &status); });
    if (walk.error == ENOENT) {
      walk.error = 0;
      return note(walk);
    }
    if (walk.error != 0) return fail("lstat", walk.error);
    walk.inode = status.st_ino;
    walk.directory = S_ISDIR(status.st_mode);
    note(walk);
    auto attributes = walk;
    attributes.kind = Kind::STAT;
    attributes.links = status.st_nlink;
    attributes.size = uint64_t(status.st_size);
    ++attributes.end;  // the last call about the inode, when nobody asks any more: the model forgets it then
    note(attributes);
  }

  void list() {
    // POSIX says of each entry by itself whether it must be listed; so each is a look of its own.
    auto first = uint8_t(random() % 2 * (TreeModel::NAMES / 2));
    TreeCall call = {.kind = Kind::LOOK};
    std::map<char, std::pair<uint64_t, bool>> entries;
    auto path = directoryOf(first);
    timed(call, "readdir", [&]() {
      auto directory = ::opendir(path.c_str());
      if (directory == nullptr) return -1;
      while (auto entry = ::readdir(directory)) {
        if (entry->d_name[0] == '.') continue;
        if (!entries.emplace(entry->d_name[0], std::pair(entry->d_ino, entry->d_type == DT_DIR)).second) {
          fail("a name is listed twice", entry->d_name[0]);
        }
      }
      return ::closedir(directory);
    });
    if (call.error != 0) return fail("readdir", call.error);
    for (auto name = first; name < first + TreeModel::NAMES / 2; ++name) {
      auto found = entries.find(char('a' + name));
      call.name = uint8_t(name);
      call.inode = found == entries.end() ? 0 : found->second.first;
      call.directory = found != entries.end() && found->second.second;
      note(call);
    }
  }

  void makeDirectory() {
    // mkdir does not tell what it has made: made aside, looked at, and moved in.
    auto aside = root + "/aside/" + std::to_string(number);
    TreeCall call = {.kind = Kind::MAKE_DIRECTORY, .name = anyName()};
    struct stat status;
    if (::mkdir(aside.c_str(), 0755) != 0 || ::lstat(aside.c_str(), &status) != 0)
      return fail("mkdir", errno);
    call.inode = status.st_ino;
    auto path = pathOf(call.name);
    timed(call, "rename",
          [&]() { return ::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE); });
    if (call.error != 0) {
      call.inode = 0;
      if (::rmdir(aside.c_str()) != 0) fail("rmdir", errno);
    }
    note(call);
  }

  void countUnderLock() {
    // Read, add one, write, by system calls or through a mapping, under a lock: the next holder must find it.
    TreeCall call;
    auto path = root + "/counter";
    int fd = ::open(path.c_str(), O_RDWR);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    if (fd < 0 || timed(call, "lock", [&]() { return ::fcntl(fd, F_SETLKW, &lock); }) != 0)
      return fail("lock", errno);
    if (auto holders = ++shared.holders; holders != 1) fail("a lock that more than one hold", holders);
    auto expected = shared.counter.load();
    uint64_t value = 0;
    if (random() % 2 == 0) {
      auto got = timed(call, "read under the lock", [&]() { return ::pread(fd, &value, sizeof value, 0); });
      if (got != sizeof value || value != expected)
        fail("read under the lock: behind by", int64_t(expected - value));
      ++value;
      auto put = timed(call, "write under the lock", [&]() { return ::pwrite(fd, &value, sizeof value, 0); });
      if (put != sizeof value) fail("write under the lock", call.error);
    } else {
      auto mapped = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (mapped == MAP_FAILED) return fail("mmap", errno);
      timed(call, "use of a mapping", [&]() {
        value = *static_cast<volatile uint64_t*>(mapped);
        if (value != expected) fail("mapped under the lock: behind by", int64_t(expected - value));
        *static_cast<volatile uint64_t*>(mapped) = ++value;
        return 0;
      });
      if (timed(call, "msync", [&]() { return ::msync(mapped, 4096, MS_SYNC); }) != 0)
        fail("msync", call.error);
      ::munmap(mapped, 4096);
    }
    shared.counter = value;
    --shared.holders;
    lock.l_type = F_UNLCK;
    if (timed(call, "unlock", [&]() { return ::fcntl(fd, F_SETLK, &lock); }) != 0) fail("unlock", call.error);
    timed(call, "close", [&]() { return ::close(fd); });
  }

  void log() {
    // One append to a file that all append to, of up to some pages.
    auto line =
        "<" + std::to_string(number) + " " + std::to_string(me.logged) + " " +
        std::string(size_t(1 + random() % (random() % 8 == 0 ? 10'000 : 200)), char('a' + me.logged % 26)) +
        ">\n";
    TreeCall call;
    auto path = root + "/log";
    int fd = ::open(path.c_str(), O_WRONLY | O_APPEND);
    auto written = timed(call, "append to the log", [&]() { return ::write(fd, line.data(), line.size()); });
    if (written != ssize_t(line.size())) fail("append to the log", call.error);
    ++me.logged;
    if (timed(call, "close", [&]() { return ::close(fd); }) != 0) fail("close of the log", call.error);
  }
};

class Stress : public Mounts {
 protected:
  template <typename T>
  static T* sharedMemory(size_t count = 1) {
    auto memory = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT_NE(memory, MAP_FAILED);
    return static_cast<T*>(memory);
  }

  static void expectExplained(std::vector<TreeCall> calls, const char* reads, unsigned group) {
    markOwnChanges(calls, MOUNTS);
    EXPECT_EQ(placeAppends(calls, reads), "");
    test::Linearizability<TreeModel> checker{TreeModel(calls)};
    auto violation = checker.check(calls);
    std::printf("group %u: %zu calls, %zu steps to an order that explains them\n", group, calls.size(),
                checker.stepsTaken());
    if (!violation) return;
    std::string text = std::string(violation->certain ? "No order" : "None of the orders that were tried") +
                       " of the calls explains this answer:\n  " + describe(calls[violation->call]) +
                       "\nin any of these states before it (some):\n";
    for (size_t i = 0; i < std::min<size_t>(violation->configurations.size(), 8); ++i) {
      auto& configuration = violation->configurations[i];
      text += "  " + describe(configuration.state) + "\n";
      for (auto done : configuration.done) text += "      after " + describe(calls[done]) + "\n";
    }
    text += "under way at its end:\n";
    for (auto call : violation->pending) text += "  " + describe(calls[call]) + "\n";
    text += "before, of the same names or inode, and the last of all:\n";
    auto wrong = calls[violation->call];
    std::erase_if(calls, [&](const TreeCall& call) { return call.end >= wrong.end; });
    std::sort(calls.begin(), calls.end(), [](auto& a, auto& b) { return a.end < b.end; });
    auto related = calls;
    std::erase_if(related, [&](const TreeCall& call) {
      return call.error != 0 || (call.name != wrong.name && call.other != wrong.name &&
                                 (wrong.inode == 0 || call.inode != wrong.inode));
    });
    for (size_t i = related.size() - std::min<size_t>(related.size(), 30); i < related.size(); ++i) {
      text += "  " + describe(related[i]) + "\n";
    }
    text += "  ...\n";
    std::sort(calls.begin(), calls.end(), [](auto& a, auto& b) { return a.end < b.end; });
    for (size_t i = calls.size() - std::min<size_t>(calls.size(), 40); i < calls.size(); ++i) {
      text += "  " + describe(calls[i]) + "\n";
    }
    ADD_FAILURE() << "group " << group << "\n" << text;
  }
};

TEST_F(Stress, OneOrderOfAllCallsExplainsAllAnswersOnFourMounts) {
  auto seconds = numberFrom("CAIRN_STRESS_SECONDS", 60);
  auto seed = numberFrom("CAIRN_STRESS_SEED", 1);
  std::printf("CAIRN_STRESS_SEED=%lu\n", static_cast<unsigned long>(seed));
  auto& c = start({.chunkds = 3, .replicas = 2});
  std::vector<std::string> roots = {c.mount()};
  while (roots.size() < MOUNTS) roots.push_back(mountAnother());
  for (unsigned group = 0; group < GROUPS; ++group) {
    for (auto directory : {"", "/x", "/y"}) {
      ASSERT_EQ(::mkdir((c / ("g" + std::to_string(group) + directory)).c_str(), 0755), 0);
    }
  }
  ASSERT_EQ(::mkdir((c / "aside").c_str(), 0755), 0);
  ASSERT_EQ(put(c / "counter", std::string(8, 0)), 0);
  ASSERT_EQ(put(c / "log", ""), 0);

  auto& shared = *new (sharedMemory<Shared>()) Shared;
  auto history = sharedMemory<TreeCall>(CALLS * MOUNTS * PROCESSES);
  auto reads = sharedMemory<char>(READS * MOUNTS * PROCESSES);
  sigset_t ended, before;
  ::sigemptyset(&ended);
  ::sigaddset(&ended, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &ended, &before);
  std::map<pid_t, unsigned> children;
  for (unsigned number = 0; number < MOUNTS * PROCESSES; ++number) {
    auto child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::sigprocmask(SIG_SETMASK, &before, nullptr);
      Worker(roots[number % MOUNTS], number, seed, shared, history + CALLS * number,
             {.all = reads, .used = READS * number, .end = READS * (number + 1)})
          .run();
      ::_exit(0);
    }
    children[child] = number;
  }

  auto end = now() + seconds * 1'000'000'000;
  bool hangs = false;
  while (!hangs && !children.empty()) {
    // Until the time is over, or one has found a wrong answer, or one has been in a call for half a minute.
    int status;
    if (auto child = ::waitpid(-1, &status, WNOHANG); child > 0) {
      EXPECT_EQ(status, 0) << "process " << children[child] << " died in "
                           << shared.processes[children[child]].doing.load();
      children.erase(child);
      continue;
    }
    struct timespec look = {.tv_sec = 0, .tv_nsec = 200'000'000};
    ::sigtimedwait(&ended, nullptr, &look);  // until one ends; or now and then, to see whether one hangs
    if (now() > end) shared.stop = true;
    for (auto& [child, number] : children) {
      auto& process = shared.processes[number];
      if (process.failure[0] != 0) shared.stop = true;
      auto since = process.since.load();
      if (since == 0 || now() < since + 30'000'000'000) continue;
      ADD_FAILURE() << "process " << number << " on mount " << number % MOUNTS << " hangs in "
                    << process.doing.load();
      hangs = true;
    }
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  for (auto& [child, number] : children) ::kill(child, SIGKILL);

  std::vector<std::vector<TreeCall>> calls(GROUPS);
  for (unsigned number = 0; number < MOUNTS * PROCESSES; ++number) {
    auto& process = shared.processes[number];
    EXPECT_STREQ(process.failure, "");
    for (uint64_t i = 0; i < process.calls; ++i) {
      auto& call = history[CALLS * number + i];
      calls[call.group].push_back(call);
    }
  }
  if (hangs) return;
  const TreeCall* longest = nullptr;
  for (auto& group : calls) {
    for (auto& call : group) {
      if (longest == nullptr || call.end - call.begin > longest->end - longest->begin) longest = &call;
    }
  }
  ASSERT_NE(longest, nullptr);
  std::printf("the longest call: %s\n", describe(*longest).c_str());
  EXPECT_LT(longest->end - longest->begin, 4'000'000'000u)
      << "two have waited for each other until one gave up";
  for (unsigned group = 0; group < GROUPS; ++group) expectExplained(std::move(calls[group]), reads, group);

  // The log: what each process has appended is there once, whole, in its order, and nothing else.
  auto text = readFile(roots.back() + "/log");
  EXPECT_TRUE(text == readFile(roots.front() + "/log"));
  std::map<unsigned, uint64_t> next;
  size_t at = 0;
  for (; at < text.size();) {
    unsigned number;
    unsigned long serial;
    int used = 0;
    ASSERT_EQ(std::sscanf(text.c_str() + at, "<%u %lu %n", &number, &serial, &used), 2) << "at " << at;
    auto close = text.find(">\n", at);
    ASSERT_NE(close, std::string::npos) << "cut at " << at;
    auto body = text.substr(at + size_t(used), close - at - size_t(used));
    ASSERT_EQ(body.find_first_not_of(char('a' + serial % 26)), std::string::npos) << "torn at " << at;
    ASSERT_EQ(serial, next[number]++) << "process " << number << " at " << at;
    at = close + 2;
  }
  for (unsigned number = 0; number < MOUNTS * PROCESSES; ++number) {
    EXPECT_EQ(next[number], shared.processes[number].logged) << "process " << number;
  }
  std::printf("%zu bytes in the log; counted to %lu under the lock; %lu calls made again\n", text.size(),
              static_cast<unsigned long>(shared.counter.load()),
              static_cast<unsigned long>(shared.stale.load()));
}

// ------------------------------------------------------------------------------------------- of the model

std::vector<TreeCall> historyOf(std::vector<TreeCall> calls) {
  // A file 7 at name 0 from the start, made by process 0; times in the calls begin at 10.
  calls.insert(calls.begin(), {.begin = 1, .end = 2, .kind = Kind::CREATE, .inode = 7});
  return calls;
}

bool isExplained(std::vector<TreeCall> calls) {
  calls = historyOf(std::move(calls));
  markOwnChanges(calls, MOUNTS);
  return !test::Linearizability<TreeModel>{TreeModel(calls)}.check(calls);
}

TEST(TreeModel, KnowsNamesLinksSizesAndContent) {
  EXPECT_TRUE(isExplained({{.begin = 10, .end = 11, .kind = Kind::LOOK, .inode = 7}}));
  EXPECT_FALSE(isExplained({{.begin = 10, .end = 11, .kind = Kind::LOOK}}));
  TreeCall append = {.begin = 10, .end = 11, .kind = Kind::APPEND, .inode = 7};
  auto content = digest(0, append.record.data(), append.record.size());
  EXPECT_TRUE(isExplained(
      {append, {.begin = 12, .end = 13, .kind = Kind::STAT, .inode = 7, .links = 1, .size = 16}}));
  EXPECT_FALSE(
      isExplained({append, {.begin = 12, .end = 13, .kind = Kind::STAT, .inode = 7, .links = 1, .size = 0}}));
  EXPECT_FALSE(isExplained(
      {append, {.begin = 12, .end = 13, .kind = Kind::STAT, .inode = 7, .links = 2, .size = 16}}));
  EXPECT_TRUE(isExplained(
      {append, {.begin = 12, .end = 13, .kind = Kind::READ, .inode = 7, .size = 16, .content = content}}));
  EXPECT_FALSE(isExplained(
      {append, {.begin = 12, .end = 13, .kind = Kind::READ, .inode = 7, .size = 16, .content = 1}}));
  EXPECT_FALSE(isExplained(
      {append,
       append,
       {.begin = 12, .end = 13, .kind = Kind::READ, .inode = 7, .size = 16, .content = content}}));
}

TEST(TreeModel, ARecordStandsWhereItWasReadOnce) {
  const char bytes[] = "0123456789abcdefFEDCBA9876543210";
  TreeCall first = {.begin = 10, .end = 20, .kind = Kind::APPEND, .inode = 7}, second = first;
  std::copy_n(bytes, 16, first.record.begin());
  std::copy_n(bytes + 16, 16, second.record.begin());
  auto read = [&](uint64_t from, uint64_t size) {
    return TreeCall{.begin = 30,
                    .end = 31,
                    .kind = Kind::READ,
                    .inode = 7,
                    .size = size,
                    .content = digest(0, bytes + from, size),
                    .position = from};
  };
  auto placed = historyOf({second, first, read(0, 32)});
  EXPECT_EQ(placeAppends(placed, bytes), "");
  EXPECT_EQ(placed[1].position, 16u);
  EXPECT_EQ(placed[2].position, 0u);
  EXPECT_FALSE(test::Linearizability<TreeModel>{TreeModel(placed)}.check(placed));
  auto lost = historyOf({first, read(0, 32)}), moved = historyOf({first, second, read(0, 32), read(16, 16)}),
       torn = historyOf({first, read(0, 8)});
  EXPECT_NE(placeAppends(lost, bytes), "");
  EXPECT_NE(placeAppends(moved, bytes), "");
  EXPECT_NE(placeAppends(torn, bytes), "");
}

TEST(TreeModel, KnowsWhatIsRefused) {
  EXPECT_TRUE(isExplained({{.begin = 10, .end = 11, .kind = Kind::CREATE, .error = EEXIST}}));
  EXPECT_FALSE(isExplained({{.begin = 10, .end = 11, .kind = Kind::CREATE, .name = 1, .error = EEXIST}}));
  EXPECT_FALSE(isExplained({{.begin = 10, .end = 11, .kind = Kind::UNLINK, .error = ENOENT}}));
  EXPECT_TRUE(isExplained({{.begin = 10, .end = 11, .kind = Kind::REMOVE_DIRECTORY, .error = ENOTDIR}}));
  EXPECT_FALSE(isExplained({{.begin = 10, .end = 11, .kind = Kind::OPEN, .error = ESTALE}}));
}

TEST(TreeModel, OnlyTheMountThatIsChangingANameMayStillSeeItAsItWas) {
  TreeCall unlink = {.begin = 10, .end = 20, .kind = Kind::UNLINK, .process = 1};
  TreeCall gone = {.begin = 11, .end = 12, .kind = Kind::LOOK, .process = 2};
  auto there = [](unsigned process, uint64_t begin) {
    return TreeCall{
        .begin = begin, .end = begin + 1, .kind = Kind::LOOK, .process = uint8_t(process), .inode = 7};
  };
  EXPECT_FALSE(isExplained({unlink, gone, there(2, 14)}));
  EXPECT_TRUE(isExplained({unlink, gone, there(1 + MOUNTS, 14)}));
  EXPECT_FALSE(isExplained({unlink, gone, there(1 + MOUNTS, 21)})) << "its call has returned";
  auto elsewhere = there(1 + MOUNTS, 14);
  elsewhere.name = 2;
  EXPECT_FALSE(isExplained({unlink, elsewhere})) << "it is another name";
}

TEST(TreeModel, ARenameThatFindsOneFileAtBothNamesAtTwoMomentsChangesNothing) {
  auto renames = [](unsigned process, uint64_t begin, uint64_t end) {
    TreeCall walk = {.begin = begin, .end = end, .kind = Kind::WALK, .process = uint8_t(process), .other = 1};
    auto rename = walk;
    rename.kind = Kind::RENAME;
    return std::vector{walk, rename};
  };
  auto explained = [&](std::vector<TreeCall> first, std::vector<TreeCall> second, uint64_t found) {
    first.insert(first.end(), second.begin(), second.end());
    first.push_back({.begin = 40, .end = 41, .process = 2, .name = 1, .inode = found});
    return isExplained(first);
  };
  EXPECT_TRUE(explained(renames(0, 10, 30), renames(1, 12, 14), 7))
      << "it was at the first, then at the other";
  EXPECT_FALSE(explained(renames(0, 16, 30), renames(1, 12, 14), 7)) << "at the first it was before it began";
  EXPECT_FALSE(explained(renames(0, 10, 30), renames(1, 12, 14), 0)) << "nobody has removed it";
}

TEST(TreeModel, OnlyTheMountThatIsChangingLinksMayStillCountThemAsTheyWere) {
  TreeCall link = {.begin = 10, .end = 20, .kind = Kind::LINK, .process = 1, .name = 2, .inode = 7};
  TreeCall seen = {.begin = 11, .end = 12, .kind = Kind::LOOK, .process = 2, .name = 2, .inode = 7};
  auto count = [](unsigned process, uint64_t begin, uint64_t size = 0) {
    return TreeCall{.begin = begin,
                    .end = begin + 1,
                    .kind = Kind::STAT,
                    .process = uint8_t(process),
                    .inode = 7,
                    .links = 1,
                    .size = size};
  };
  EXPECT_FALSE(isExplained({link, seen, count(2, 14)}));
  EXPECT_TRUE(isExplained({link, seen, count(1 + MOUNTS, 14)}));
  EXPECT_FALSE(isExplained({link, seen, count(1 + MOUNTS, 14, 16)})) << "sizes are judged all the same";
  EXPECT_FALSE(isExplained({link, seen, count(1 + MOUNTS, 21)})) << "its call has returned";
}

}  // namespace
}  // namespace cairn::e2e
