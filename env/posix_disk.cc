// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The real disk. What the page cache can answer is done inline, because waking another core costs more than
// the copy; only what would wait for the device goes to the engine (io_uring or threads). Large transfers of
// whole pages go past the page cache (O_DIRECT), from and to the message's own memory: what a replica is sent
// once is rarely read here again, and filling fresh page cache was two thirds of the CPU of a replicated
// sequential write. The kernel keeps both ways coherent on one file (open(2), NOTES on O_DIRECT) as long as
// overlapping transfers are not in flight at once, which the chunk store sees to. A small read that has to
// wait for an idle device brings its neighbours along (READ_AROUND).
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <unordered_map>

#include "env/disk.h"
#include "env/io_engine.h"
#include "env/shared_sync.h"
#include "env/worker.h"

namespace cairn::env {

namespace {

constexpr kj::Duration SLOW_WRITE = 5 * kj::MILLISECONDS;
// An inline write that took this long met the kernel's dirty-page throttle.
constexpr unsigned WRITES_AFTER_SLOW = 64;
// This many writes then go through the engine, so that the loop goes on while the kernel makes us wait.

constexpr size_t PAGE = 4096;  // alignment of direct transfers: suits every device in use
constexpr size_t DIRECT_SIZE_MIN = 128 << 10;
// From here on a direct transfer costs less than the copy into fresh page cache, even where it waits.

constexpr uint64_t READ_AROUND = 64 << 10;
// After a small read that had the device for itself the page cache is filled this far around it: large writes
// have left nothing there, and the next read is likely to be near. Only then, so that the read itself does
// not wait for it (virtio disk: 4 KiB 57 us, 64 KiB 127 us), and reads that share the device are not widened,
// so that many at once still get all of its bandwidth for what they asked.

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
bool isMostlyCached(int fd, uint64_t offset, uint64_t size) {
  // cachestat(2), Linux 6.5. Elsewhere: yes, so that reads stay with the page cache and its read-ahead.
  struct {
    uint64_t offset, size;
  } range{offset, size};
  struct {
    uint64_t cached, dirty, writeback, evicted, recentlyEvicted;
  } found{};
  if (syscall(SYS_cachestat, fd, &range, &found, 0) < 0) return true;
  return found.cached * PAGE * 2 > size;
}

bool isPageAligned(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) % PAGE == 0;
}

IoOutcome outcomeOf(int64_t answer) {
  return answer < 0 ? IoOutcome{0, int(-answer)} : IoOutcome{uint64_t(answer), 0};
}

IoOutcome outcomeOfCall(int answer) {
  return answer < 0 ? IoOutcome{0, errno} : IoOutcome{};
}

void advance(kj::ArrayPtr<struct iovec>& pieces, uint64_t bytes) {
  while (pieces.size() > 0 && bytes >= pieces[0].iov_len) {
    bytes -= pieces[0].iov_len;
    pieces = pieces.slice(1, pieces.size());
  }
  if (bytes > 0) {
    pieces[0].iov_base = static_cast<char*>(pieces[0].iov_base) + bytes;
    pieces[0].iov_len -= bytes;
  }
}

struct DeviceUse {
  // Of all files of one disk.
  uint32_t readsUnderWay = 0;
};

class PosixFile final : public DiskFile {
 public:
  PosixFile(kj::AutoCloseFd fd, IoEngine& engine, const kj::MonotonicClock& clock, DeviceUse& device)
      : fd(kj::mv(fd)), engine(engine), clock(clock), device(device) {}

  kj::Promise<IoOutcome> read(uint64_t offset, kj::ArrayPtr<kj::byte> into) override {
    struct iovec piece{into.begin(), into.size()};
    if (into.size() >= DIRECT_SIZE_MIN && offset % PAGE == 0 && into.size() % PAGE == 0 &&
        isPageAligned(into.begin()) && !isMostlyCached(fd, offset, into.size())) {
      int direct = directDescriptor();
      if (direct >= 0) return readDirect(direct, offset, into);
    }
    uint64_t done = 0;
    while (done < into.size()) {
      piece = {into.begin() + done, into.size() - done};
      ssize_t answer = preadv2(fd, &piece, 1, off_t(offset + done), RWF_NOWAIT);
      if (answer == 0) return IoOutcome{done, 0};
      if (answer < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EOPNOTSUPP) return IoOutcome{done, errno};
        bool alone = device.readsUnderWay == 0 && into.size() <= READ_AROUND / 2;
        auto answered = readAway(offset, into, done);
        if (!alone) return kj::mv(answered);
        return answered.then([this, offset](IoOutcome outcome) {
          if (outcome.ok() && device.readsUnderWay == 0) readAround(offset);
          return outcome;
        });
      }
      done += uint64_t(answer);
    }
    return IoOutcome{done, 0};
  }

  kj::Promise<IoOutcome> write(uint64_t offset, Pieces pieces) override {
    // Inline, measured against the ring (6.18, ext4, 8 in flight, CPU per write): 4 KiB 4 against 8 us, 64
    // KiB 18 against 26 us, 1 MiB 250 against 220 us. ext4 hands buffered writes on the ring to a worker
    // thread, which costs small ones twice their copy and gains large ones nothing while both cores are busy.
    // Large ones of whole pages go direct (a replicated sequential write with a loaded machine: 64 MB/s
    // through the page cache, 329 MB/s past it).
    kj::Vector<struct iovec> list(pieces.size());
    for (auto& piece : pieces) {
      if (piece.size() > 0) list.add(iovec{const_cast<kj::byte*>(piece.begin()), piece.size()});
    }
    if (list.size() == 1 && list[0].iov_len >= DIRECT_SIZE_MIN && offset % PAGE == 0 &&
        isPageAligned(list[0].iov_base)) {
      int direct = directDescriptor();
      if (direct >= 0) return writeDirect(direct, offset, kj::mv(list));
    }
    return writeCached(offset, kj::mv(list));
  }

  kj::Promise<IoOutcome> writeCached(uint64_t offset, kj::Vector<struct iovec> list) {
    if (writesAway > 0) {
      writesAway--;
      return writeAway(offset, kj::mv(list), 0);
    }
    auto before = clock.now();
    auto outcome = writeInline(offset, list.asPtr());
    if (clock.now() - before > SLOW_WRITE) writesAway = WRITES_AFTER_SLOW;
    return outcome;
  }

  kj::Promise<IoOutcome> sync() override {
    return syncs.join([this] { return submit(IoRequest::Kind::SYNC_DATA); });
  }

  kj::Promise<IoOutcome> truncate(uint64_t size) override {
    return outcomeOfCall(ftruncate(fd, off_t(size)));
  }

  kj::Promise<IoOutcome> punch(uint64_t offset, uint64_t size) override {
    IoRequest request{IoRequest::Kind::PUNCH, fd};
    request.offset = offset;
    request.length = size;
    return engine.submit(kj::mv(request)).then([](int64_t answer) { return outcomeOf(answer); });
  }

  kj::Promise<IoOutcome> cloneFrom(DiskFile& source) override {
    KJ_IF_MAYBE (from, source.descriptor()) return outcomeOfCall(ioctl(fd, FICLONE, *from));
    return IoOutcome{0, EOPNOTSUPP};
  }

  kj::Promise<IoOutcome> size() override {
    struct stat info;
    if (fstat(fd, &info) < 0) return IoOutcome{0, errno};
    return IoOutcome{uint64_t(info.st_size), 0};
  }

  kj::Maybe<int> descriptor() override { return fd.get(); }

 private:
  kj::AutoCloseFd fd;
  IoEngine& engine;
  const kj::MonotonicClock& clock;
  DeviceUse& device;
  unsigned writesAway = 0;
  kj::AutoCloseFd direct;      // the same file with O_DIRECT, opened at the first large transfer
  bool directRefused = false;  // by the filesystem (tmpfs before 6.6, some network ones)
  SharedSync syncs;            // last: its promises use the fields above

  kj::Promise<int64_t> submitRead(IoRequest request) {
    device.readsUnderWay++;
    return engine.submit(kj::mv(request)).attach(kj::defer([&device = device] { device.readsUnderWay--; }));
  }

  void readAround(uint64_t offset) {
    // Only begun here: nobody waits for it.
    (void)posix_fadvise(fd, off_t(offset / READ_AROUND * READ_AROUND), READ_AROUND, POSIX_FADV_WILLNEED);
  }

  kj::Promise<IoOutcome> submit(IoRequest::Kind kind) {
    return engine.submit(IoRequest{kind, fd}).then([](int64_t answer) { return outcomeOf(answer); });
  }

  int directDescriptor() {
    if (direct == nullptr && !directRefused) {
      int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
      int opened = open(kj::str("/proc/self/fd/", fd.get()).cStr(), mode | O_DIRECT | O_CLOEXEC);
      if (opened < 0) {
        directRefused = true;
      } else {
        direct = kj::AutoCloseFd(opened);
      }
    }
    return directRefused ? -1 : direct.get();
  }

  kj::Promise<IoOutcome> readDirect(int descriptor, uint64_t offset, kj::ArrayPtr<kj::byte> into) {
    IoRequest request{IoRequest::Kind::READ, descriptor};
    request.offset = offset;
    request.pieces.add(iovec{into.begin(), into.size()});
    return submitRead(kj::mv(request)).then([=, this](int64_t answer) -> kj::Promise<IoOutcome> {
      if (answer == int64_t(into.size())) return IoOutcome{into.size(), 0};
      if (answer == -EINVAL) directRefused = true;
      // The end of the file, or something the page cache's way will name.
      return readAway(offset, into, answer > 0 ? uint64_t(answer) : 0);
    });
  }

  kj::Promise<IoOutcome> writeDirect(int descriptor, uint64_t offset, kj::Vector<struct iovec> list) {
    // The whole pages; what is left of a last one follows through the page cache.
    size_t size = list[0].iov_len, whole = size - size % PAGE;
    IoRequest request{IoRequest::Kind::WRITE, descriptor};
    request.offset = offset;
    request.pieces.add(iovec{list[0].iov_base, whole});
    return engine.submit(kj::mv(request))
        .then([=, this, list = kj::mv(list)](int64_t answer) mutable -> kj::Promise<IoOutcome> {
          if (answer == -EINVAL) directRefused = true;
          uint64_t done = answer > 0 ? uint64_t(answer) : 0;
          if (done == size) return IoOutcome{done, 0};
          list[0].iov_base = static_cast<char*>(list[0].iov_base) + done;
          list[0].iov_len -= done;
          return writeCached(offset + done, kj::mv(list)).then([done](IoOutcome outcome) {
            outcome.bytes += done;
            return outcome;
          });
        });
  }

  kj::Promise<IoOutcome> readAway(uint64_t offset, kj::ArrayPtr<kj::byte> into, uint64_t done) {
    IoRequest request{IoRequest::Kind::READ, fd};
    request.offset = offset + done;
    request.pieces.add(iovec{into.begin() + done, into.size() - done});
    return submitRead(kj::mv(request)).then([=, this](int64_t answer) -> kj::Promise<IoOutcome> {
      if (answer == -EINTR || answer == -EAGAIN) return readAway(offset, into, done);
      if (answer < 0) return IoOutcome{done, int(-answer)};
      uint64_t total = done + uint64_t(answer);
      if (answer == 0 || total == into.size()) return IoOutcome{total, 0};
      return readAway(offset, into, total);
    });
  }

  IoOutcome writeInline(uint64_t offset, kj::ArrayPtr<struct iovec> left) {
    uint64_t done = 0;
    while (left.size() > 0) {
      ssize_t answer =
          pwritev(fd, left.begin(), int(kj::min(left.size(), size_t(IOV_MAX))), off_t(offset + done));
      if (answer < 0) {
        if (errno == EINTR) continue;
        return {done, errno};
      }
      done += uint64_t(answer);
      advance(left, uint64_t(answer));
    }
    return {done, 0};
  }

  kj::Promise<IoOutcome> writeAway(uint64_t offset, kj::Vector<struct iovec> list, uint64_t done) {
    IoRequest request{IoRequest::Kind::WRITE, fd};
    request.offset = offset + done;
    request.pieces.addAll(list);
    return engine.submit(kj::mv(request))
        .then([=, this, list = kj::mv(list)](int64_t answer) mutable -> kj::Promise<IoOutcome> {
          if (answer == -EINTR || answer == -EAGAIN) answer = 0;
          if (answer < 0) return IoOutcome{done, int(-answer)};
          auto left = list.asPtr();
          advance(left, uint64_t(answer));
          if (left.size() == 0) return IoOutcome{done + uint64_t(answer), 0};
          kj::Vector<struct iovec> rest(left.size());
          rest.addAll(left);
          return writeAway(offset, kj::mv(rest), done + uint64_t(answer));
        });
  }
};

class PosixMapping final : public DiskMapping {
 public:
  explicit PosixMapping(kj::ArrayPtr<kj::byte> memory) : memory(memory) {}
  ~PosixMapping() noexcept(false) { munmap(memory.begin(), memory.size()); }
  kj::ArrayPtr<kj::byte> bytes() override { return memory; }

 private:
  kj::ArrayPtr<kj::byte> memory;
};

class PosixLock final : public DiskLock {
 public:
  explicit PosixLock(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}

 private:
  kj::AutoCloseFd fd;  // closing it releases the flock
};

class PosixDisk final : public Disk {
 public:
  PosixDisk(kj::AutoCloseFd root, kj::Own<IoEngine> engine, kj::Own<Worker> worker,
            const kj::MonotonicClock& clock)
      : root(kj::mv(root)), engine(kj::mv(engine)), worker(kj::mv(worker)), clock(clock) {}

  kj::Promise<OpenOutcome> open(kj::StringPtr path, OpenMode mode) override {
    int flags = O_CLOEXEC;
    switch (mode) {
      case OpenMode::READ:
        flags |= O_RDONLY;
        break;
      case OpenMode::WRITE:
        flags |= O_RDWR;
        break;
      case OpenMode::CREATE:
        flags |= O_RDWR | O_CREAT | O_EXCL;
        break;
      case OpenMode::CREATE_OR_OPEN:
        flags |= O_RDWR | O_CREAT;
        break;
    }
    if ((flags & O_CREAT) != 0) return opened(carryOut(openRequest(path, flags)));
    int64_t answer = openCached(path, flags);  // no trip through the engine when the inode is in memory
    if (answer != -EAGAIN && answer != -ENOSYS) return opened(answer);
    return engine->submit(openRequest(path, flags)).then([this](int64_t late) { return opened(late); });
  }

  kj::Promise<IoOutcome> remove(kj::StringPtr path) override {
    IoRequest request{IoRequest::Kind::REMOVE, root};
    request.path = kj::str(path);
    return engine->submit(kj::mv(request)).then([](int64_t answer) { return outcomeOf(answer); });
  }

  kj::Promise<IoOutcome> rename(kj::StringPtr from, kj::StringPtr to) override {
    return outcomeOfCall(renameat(root, from.cStr(), root, to.cStr()));
  }

  kj::Promise<IoOutcome> makeDirectory(kj::StringPtr path) override {
    if (mkdirat(root, path.cStr(), 0750) < 0 && errno != EEXIST) return IoOutcome{0, errno};
    return IoOutcome{};
  }

  kj::Promise<ListOutcome> list(kj::StringPtr directory) override {
    ListOutcome outcome;
    int fd = openat(root, here(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
      outcome.error = errno;
      return kj::mv(outcome);
    }
    DIR* stream = fdopendir(fd);
    KJ_DEFER(closedir(stream));
    for (;;) {
      errno = 0;
      struct dirent* entry = readdir(stream);
      if (entry == nullptr) break;
      kj::StringPtr name = entry->d_name;
      if (name != "." && name != "..") outcome.names.add(kj::str(name));
    }
    outcome.error = errno;
    return kj::mv(outcome);
  }

  kj::Promise<IoOutcome> syncDirectory(kj::StringPtr directory) override {
    auto& entry = directories[std::string(directory.cStr())];
    if (entry == nullptr) {
      int fd = openat(root, here(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0) return IoOutcome{0, errno};
      entry = std::make_unique<Directory>();
      entry->fd = kj::AutoCloseFd(fd);
    }
    Directory& found = *entry;
    return found.syncs.join([this, &found] {
      return engine->submit(IoRequest{IoRequest::Kind::SYNC_ALL, found.fd}).then([](int64_t answer) {
        return outcomeOf(answer);
      });
    });
  }

  kj::Promise<IoOutcome> syncEverything() override {
    if (!tellsOfErrors()) return IoOutcome{0, EOPNOTSUPP};
    return wholeSyncs.join([this]() -> kj::Promise<IoOutcome> {
      auto answer = kj::heap<int>(0);
      auto& error = *answer;
      return worker->run([fd = root.get(), &error] { error = syncfs(fd) < 0 ? errno : 0; })
          .then([&error] { return IoOutcome{0, error}; })
          .attach(kj::mv(answer));
    });
  }

  SpaceOutcome space() override {
    struct statvfs info;
    if (fstatvfs(root, &info) < 0) return {0, 0, errno};
    return {info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize, 0};
  }

  MapOutcome map(kj::StringPtr path, size_t size) override {
    int fd = openat(root, path.cStr(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) return {nullptr, errno};
    kj::AutoCloseFd file(fd);
    int error = posix_fallocate(fd, 0, off_t(size));
    if (error != 0) return {nullptr, error};
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (memory == MAP_FAILED) return {nullptr, errno};
    return {kj::Own<DiskMapping>(kj::heap<PosixMapping>(kj::arrayPtr(static_cast<kj::byte*>(memory), size))),
            0};
  }

  LockOutcome lock(kj::StringPtr path) override {
    int fd = openat(root, path.cStr(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) return {nullptr, nullptr, errno};
    kj::AutoCloseFd file(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
      int error = errno;
      char text[32];
      ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
      while (size > 0 && (text[size - 1] < '0' || text[size - 1] > '9')) size--;
      return {nullptr, kj::heapString(text, size > 0 ? size_t(size) : 0), error};
    }
    auto pid = kj::str(getpid(), "\n");
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid.begin(), pid.size(), 0) < 0) {
      if (errno != ENOSPC) return {nullptr, nullptr, errno};  // on a full disk the lock holds without a name
    }
    return {kj::Own<DiskLock>(kj::heap<PosixLock>(kj::mv(file))), nullptr, 0};
  }

 private:
  struct Directory {
    kj::AutoCloseFd fd;
    SharedSync syncs;
  };

  kj::AutoCloseFd root;
  kj::Own<IoEngine> engine;
  kj::Own<Worker> worker;  // for syncfs, which io_uring does not know
  const kj::MonotonicClock& clock;
  DeviceUse device;
  std::unordered_map<std::string, std::unique_ptr<Directory>> directories;
  // Opened once for syncDirectory: a chunk store has 256 of them.
  SharedSync wholeSyncs;

  bool tellsOfErrors() {
    // syncfs(2): since Linux 5.8, of a descriptor that was open when the write failed, as `root` was. Of
    // filesystems, those that are known to write all out and flush the device.
    struct utsname kernel;
    unsigned major = 0, minor = 0;
    if (uname(&kernel) < 0 || sscanf(kernel.release, "%u.%u", &major, &minor) != 2) return false;
    if (major < 5 || (major == 5 && minor < 8)) return false;
    struct statfs info;
    if (fstatfs(root, &info) < 0) return false;
    switch (uint32_t(info.f_type)) {
      case EXT4_SUPER_MAGIC:
      case XFS_SUPER_MAGIC:
      case BTRFS_SUPER_MAGIC:
      case TMPFS_MAGIC:
        return true;
      default:
        return false;
    }
  }

  static const char* here(kj::StringPtr directory) { return directory == "" ? "." : directory.cStr(); }

  IoRequest openRequest(kj::StringPtr path, int flags) {
    IoRequest request{IoRequest::Kind::OPEN, root};
    request.path = kj::str(path);
    request.openFlags = flags;
    return request;
  }

  int64_t openCached(kj::StringPtr path, int flags) {
    struct open_how how{};
    how.flags = uint64_t(flags);
    how.resolve = RESOLVE_CACHED;
    long answer = syscall(SYS_openat2, root.get(), path.cStr(), &how, sizeof(how));
    if (answer < 0 && errno == EINVAL) return -EAGAIN;  // a kernel without RESOLVE_CACHED
    return answer < 0 ? -int64_t(errno) : answer;
  }

  OpenOutcome opened(int64_t answer) {
    if (answer < 0) return {nullptr, int(-answer)};
    return {kj::Own<DiskFile>(kj::heap<PosixFile>(kj::AutoCloseFd(int(answer)), *engine, clock, device)), 0};
  }
};

}  // namespace

kj::String KJ_STRINGIFY(const IoOutcome& outcome) {
  if (outcome.ok()) return kj::str(outcome.bytes, " bytes");
  return kj::str(describeError(outcome.error), " after ", outcome.bytes, " bytes");
}

kj::String describeError(int error) {
  const char* name = strerrorname_np(error);
  return kj::str(strerrordesc_np(error), " (", name == nullptr ? "?" : name, ")");
}

kj::Own<Disk> newDisk(kj::StringPtr root, kj::UnixEventPort& events, const kj::MonotonicClock& clock,
                      IoEngineChoice choice) {
  int fd;
  KJ_SYSCALL(fd = ::open(root.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), root);
  kj::AutoCloseFd directory(fd);
  if (choice != IoEngineChoice::POOL) {
    KJ_IF_MAYBE (engine, tryNewUringEngine(events)) {
      return kj::heap<PosixDisk>(kj::mv(directory), kj::mv(*engine), newThreadWorker(events, 1), clock);
    }
    KJ_REQUIRE(choice != IoEngineChoice::URING, "the kernel refuses io_uring; use the thread pool");
  }
  return kj::heap<PosixDisk>(kj::mv(directory), newPoolEngine(events), newThreadWorker(events, 1), clock);
}

}  // namespace cairn::env
