// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What a mount answers where the file system behind it refuses, or breaks: each call has its errno, whichever
// of its steps it was, nothing has changed, and nothing stays open.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <set>

#include "test/fuse/mounted.h"
#include "test/support/eventually.h"
#include "test/support/in_turn.h"

namespace cairn::fuse {
namespace {

using test::eventually;
using namespace std::chrono_literals;

class Refusals : public Mounted {
 public:
  ~Refusals() noexcept override {}

 protected:
  uint64_t calls(const std::string& operation) {
    return onLoop([&](MemoryFilesystem& memory, SessionLoop&) { return memory.calls[operation]; });
  }
  void refuse(const std::string& operation, Status status) {
    onLoop([&](MemoryFilesystem& memory, SessionLoop&) { memory.refusals = {{operation, status}}; });
  }
  void refuseNothing() {
    onLoop([](MemoryFilesystem& memory, SessionLoop&) {
      memory.refusals.clear();
      memory.refuseCall(0, Status::OK);
      memory.before = nullptr;
    });
  }
  bool willLog(const std::string& text) {
    return eventually(5s, [&]() { return logged().find(text) != std::string::npos; });
  }
  template <typename Call>
  int asSomebody(Call call) {
    // The errno that somebody gets who is not root and of no group of the file.
    setfsgid(1234), setfsuid(1234);
    int error = call() < 0 ? errno : 0;
    setfsuid(0), setfsgid(0);
    return error;
  }
};

TEST_F(Refusals, WhatTheFilesystemRefusesReachesTheCallerWhateverTheCall) {
  writeAll("file", "content");
  ASSERT_EQ(mkdir(path("directory").c_str(), 0755), 0);
  ASSERT_EQ(symlink("file", path("link").c_str()), 0);
  int file = open(path("file").c_str(), O_RDWR), appending = open(path("file").c_str(), O_WRONLY | O_APPEND);
  int direct = open(path("file").c_str(), O_RDONLY | O_DIRECT),
      top = open(path().c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(file >= 0 && appending >= 0 && direct >= 0 && top >= 0);
  char bytes[4096];
  struct statx attributes;
  struct statvfs space;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  auto file_ = path("file"), fresh = path("fresh"), directory = path("directory"), link_ = path("link");
  using Call = std::function<int64_t()>;
  std::vector<std::pair<std::string, Call>> table{
      {"lookup", [&]() { return access(path("nobody").c_str(), F_OK); }},
      {"make", [&]() { return mkdir(fresh.c_str(), 0755); }},
      {"make", [&]() { return symlink("a", fresh.c_str()); }},
      {"make", [&]() { return mkfifo(fresh.c_str(), 0644); }},
      {"create", [&]() { return open(fresh.c_str(), O_CREAT | O_WRONLY, 0644); }},
      {"link", [&]() { return link(file_.c_str(), fresh.c_str()); }},
      {"unlink", [&]() { return unlink(file_.c_str()); }},
      {"rmdir", [&]() { return rmdir(directory.c_str()); }},
      {"rename", [&]() { return rename(file_.c_str(), fresh.c_str()); }},
      {"readLink", [&]() { return readlink(link_.c_str(), bytes, sizeof(bytes)); }},
      {"readDirectory",
       [&]() {
         auto listing = opendir(directory.c_str());
         errno = 0;
         while (readdir(listing) != nullptr) {
         }
         auto error = errno;
         closedir(listing);
         return errno = error, error == 0 ? 0 : -1;
       }},
      {"getAttributes",
       [&]() { return statx(file, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_ALL, &attributes); }},
      {"setAttributes", [&]() { return chmod(file_.c_str(), 0600); }},
      {"setAttributes", [&]() { return truncate(file_.c_str(), 3); }},
      {"statistics", [&]() { return statvfs(file_.c_str(), &space); }},
      {"getXattr", [&]() { return getxattr(file_.c_str(), "user.a", bytes, sizeof(bytes)); }},
      {"setXattr", [&]() { return setxattr(file_.c_str(), "user.a", "b", 1, 0); }},
      {"removeXattr", [&]() { return removexattr(file_.c_str(), "user.a"); }},
      {"listXattr", [&]() { return listxattr(file_.c_str(), bytes, sizeof(bytes)); }},
      {"open", [&]() { return open(file_.c_str(), O_RDONLY); }},
      {"read", [&]() { return pread(direct, bytes, sizeof(bytes), 0); }},
      {"write", [&]() { return pwrite(file, "x", 1, 0); }},
      {"append", [&]() { return write(appending, "x", 1); }},
      {"sync", [&]() { return fsync(file); }},
      {"syncNames", [&]() { return fsync(top); }},
      {"setLock", [&]() { return fcntl(file, F_SETLK, &lock); }},
      {"setLock", [&]() { return flock(file, LOCK_EX | LOCK_NB); }},
      {"testLock", [&]() { return fcntl(file, F_GETLK, &lock); }},
  };
  for (auto& [operation, call] : table) {
    onLoop([&, what = operation](MemoryFilesystem& memory, SessionLoop&) {
      memory.refusals = {{what, Status::OVER_QUOTA}};
      return 0;
    });
    errno = 0;
    auto before = calls(operation);
    EXPECT_EQ(call(), -1) << operation;
    EXPECT_EQ(errno, EDQUOT) << operation << ": " << strerror(errno);
    EXPECT_GT(calls(operation), before) << operation;
  }
  onLoop([&](MemoryFilesystem& memory, SessionLoop&) {
    memory.refusals.clear();
    return 0;
  });
  for (int descriptor : {file, appending, direct, top}) EXPECT_EQ(close(descriptor), 0);
  EXPECT_EQ(readAll("file"), "content") << "and nothing has changed";
  EXPECT_NE(access(fresh.c_str(), F_OK), 0);
}

TEST_F(Refusals, WhicheverStepOfACallIsRefusedItsCallerIsTold) {
  // Most of these have several: a program that is changed by somebody loses setuid, setgid and capabilities.
  onLoop([](MemoryFilesystem& memory, SessionLoop&) { memory.seeksAndCopies = true; });
  writeAll("file", "content"), writeAll("source", "source");
  ASSERT_EQ(chmod(path().c_str(), 0777), 0);
  ASSERT_EQ(setxattr(path("file").c_str(), "user.a", "b", 1, 0), 0);  // so it may have a capability as well
  int file = open(path("file").c_str(), O_RDWR | O_SYNC), source = open(path("source").c_str(), O_RDONLY);
  int opened = -1;
  ASSERT_TRUE(file >= 0 && source >= 0);
  loff_t from = 0, to = 0;
  const uint16_t acl[] = {2, 0, 1, 7, 0xffff, 0xffff, 4, 7, 0xffff, 0xffff, 32, 7, 0xffff, 0xffff};
  auto name = path("file");
  struct Story {
    std::string call;
    uint64_t steps;  // at least
    std::function<int64_t()> run;
    uid_t owner = 0;
    std::set<std::string> refused = {};
  };
  std::vector<Story> stories{
      {"write", 6, [&]() { return pwrite(file, "x", 1, 0); }},
      {"write by its owner", 4, [&]() { return pwrite(file, "x", 1, 0); }, 1234},
      {"fallocate", 3, [&]() { return fallocate(file, 0, 0, 1); }},
      {"copy_file_range", 5, [&]() { return copy_file_range(source, &from, file, &to, 1, 0); }},
      {"open", 2, [&]() { return opened = open(name.c_str(), O_WRONLY | O_TRUNC); }},
      {"truncate", 2, [&]() { return truncate(name.c_str(), 0); }},
      {"chown", 2, [&]() { return fchown(file, -1, -1); }},
      {"ACL", 3, [&]() { return setxattr(name.c_str(), "system.posix_acl_access", acl, sizeof(acl), 0); },
       1234},
      {"lseek", 1, [&]() { return lseek(file, 0, SEEK_HOLE); }},
  };
  for (auto& story : stories) {
    SCOPED_TRACE(story.call);
    eachInTurn(story.steps, [&](uint64_t number) {
      EXPECT_EQ(chown(name.c_str(), story.owner, 4321), 0);
      EXPECT_EQ(chmod(name.c_str(), 07777), 0);
      onLoop([&](MemoryFilesystem& memory, SessionLoop&) { memory.refuseCall(number, Status::OVER_QUOTA); });
      from = to = opened = 0;
      auto error = asSomebody(story.run);
      auto refused = onLoop([](MemoryFilesystem& memory, SessionLoop&) { return memory.callRefused(); });
      refuseNothing();
      if (opened > 0) close(opened);
      if (refused == "") return false;
      story.refused.insert(refused);
      // The kernel itself looks for a capability, and takes an error for none.
      if (refused != "getXattr") EXPECT_EQ(error, EDQUOT) << refused;
      return true;
    });
  }
  for (auto step : {"getAttributes", "setAttributes", "removeXattr", "write", "sync"}) {
    EXPECT_EQ(stories[0].refused.count(step), 1u) << step;
  }
  close(file), close(source);
}

TEST_F(Refusals, AFileThatSomebodyElseHasMadeMeanwhileIsNotEmptiedHalf) {
  onLoop([](MemoryFilesystem& memory, SessionLoop&) {
    memory.keep = 0 * kj::SECONDS;
    memory.refusals = {{"setAttributes", Status::OVER_QUOTA}};
    memory.before = [&](kj::StringPtr operation, InodeId) -> kj::Promise<void> {
      if (operation == "create") {
        memory.makeElsewhere(ROOT_INODE, "file");
        memory.appendElsewhere(memory.find("file"), "theirs");
      }
      return kj::READY_NOW;
    };
  });
  EXPECT_EQ(open(path("file").c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644), -1);
  EXPECT_EQ(errno, EDQUOT);
  refuseNothing();
  EXPECT_EQ(readAll("file"), "theirs");
}

TEST_F(Refusals, AFileWithoutANameThatCannotBeIsToldToItsMaker) {
  refuse("createTemporary", Status::OVER_QUOTA);
  ASSERT_EQ(open(path().c_str(), O_TMPFILE | O_WRONLY, 0600), -1);
  int error = errno;
  EXPECT_EQ(error, calls("createTemporary") > 0 ? EDQUOT : EOPNOTSUPP) << "before Linux 6.2 nobody is asked";
}

TEST_F(Refusals, WhatFailsWhenNobodyWaitsAnyMoreIsLogged) {
  writeAll("file", "");
  int first = open(path("file").c_str(), O_RDWR), second = open(path("file").c_str(), O_RDWR);
  refuse("flush", Status::OVER_QUOTA);
  EXPECT_EQ(close(first), -1) << "this one is told";
  EXPECT_EQ(errno, EDQUOT);
  EXPECT_TRUE(willLog("failed after its last close")) << logged();
  refuse("setLock", Status::OVER_QUOTA);
  EXPECT_EQ(close(second), 0);
  EXPECT_TRUE(willLog("could not be given back")) << logged();
}

TEST_F(Refusals, ABugInAnOperationIsAnErrorOfItsCallerAlone) {
  writeAll("file", "content");
  onLoop([](MemoryFilesystem& memory, SessionLoop&) {
    memory.before = [](kj::StringPtr operation, InodeId) -> kj::Promise<void> {
      if (operation == "listXattr") return KJ_EXCEPTION(FAILED, "a bug, says the test");
      return kj::READY_NOW;
    };
  });
  EXPECT_EQ(listxattr(path("file").c_str(), nullptr, 0), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(readAll("file"), "content");
  EXPECT_TRUE(willLog("a bug, says the test")) << logged();
}

TEST_F(Refusals, ALockThatAnotherClientHasIsSeenAndWaitedForUntilASignalComes) {
  writeAll("file", "");
  onLoop([](MemoryFilesystem& memory, SessionLoop&) { memory.lockedElsewhere = true; });
  int file = open(path("file").c_str(), O_RDWR);
  struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  EXPECT_EQ(fcntl(file, F_GETLK, &whole), 0);
  EXPECT_EQ(whole.l_type, F_WRLCK);
  EXPECT_EQ(fcntl(file, F_SETLK, &whole), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(flock(file, LOCK_EX | LOCK_NB), -1);
  EXPECT_EQ(errno, EWOULDBLOCK);
  for (auto wait : {0, 1}) {
    auto before = calls("setLock");
    auto child = fork();
    if (child == 0) {
      struct sigaction action = {};
      action.sa_handler = [](int) {};
      sigaction(SIGUSR1, &action, nullptr);
      auto result = wait == 0 ? fcntl(file, F_SETLKW, &whole) : flock(file, LOCK_EX);
      _exit(result == -1 ? errno : 0);
    }
    EXPECT_TRUE(eventually(5s, [&]() { return calls("setLock") > before; }));
    kill(child, SIGUSR1);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == EINTR) << status;
  }
  close(file);
}

TEST_F(Refusals, WhereThereAreNoLocksWhoeverWantsOneIsToldSo) {
  writeAll("file", "");
  int file = open(path("file").c_str(), O_RDWR);
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  for (auto operation : {"setLock", "testLock"}) {
    refuse(operation, Status::NOT_SUPPORTED);
    EXPECT_EQ(fcntl(file, operation == std::string("setLock") ? F_SETLK : F_GETLK, &whole), -1);
    EXPECT_EQ(errno, EOPNOTSUPP) << operation;
  }
  refuse("setLock", Status::NOT_SUPPORTED);
  EXPECT_EQ(close(file), 0);
  EXPECT_EQ(logged(), "") << "nothing is to be given back";
}

}  // namespace
}  // namespace cairn::fuse
