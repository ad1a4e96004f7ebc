// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/mount_process.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <iostream>

#include "env/daemon.h"
#include "env/saying.h"
#include "env/worker.h"
#include "fuse/background.h"
#include "fuse/mount_table.h"
#include "fuse/session_loop.h"
#include "rpc/coroutine.h"

namespace cairn::fuse {

namespace {

constexpr kj::Duration CONNECT_PATIENCE = 10 * kj::SECONDS;
constexpr kj::Duration UNMOUNT_PATIENCE = 30 * kj::SECONDS;  // of syncfs and umount through our own loop
constexpr kj::Duration FLUSH_PATIENCE = 60 * kj::SECONDS;

void raiseLimits() {
  env::raiseDescriptorLimit();
  // Memory that we ask for must not be made free by writing pages through us. Needs root; matters only under
  // pressure.
#ifdef PR_SET_IO_FLUSHER
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
#endif
}

[[noreturn]] void refuse(kj::String sentence) {
  kj::throwFatalException(env::saying(kj::Exception::Type::FAILED, kj::mv(sentence)));
}

class MountProcess {
 public:
  MountProcess(const MountCommand& command, Starter& starter, Watcher& watcher, env::Logger log)
      : command(command), starter(starter), watcher(watcher), log(kj::mv(log)), io(kj::setupAsyncIo()) {}

  void run(Connect& connect);

 private:
  enum class End { UNMOUNTED, SIGNALLED };

  kj::Own<Filesystem> connectTo(Connect& connect);
  kj::Promise<int> signal();
  void leave(SessionLoop& session, kj::ForkedPromise<void>& served);
  void complain(int error);  // of an unmount; 0: none
  void flush(Filesystem& filesystem);
  kj::Timer& timer() { return io.provider->getTimer(); }

  const MountCommand& command;
  Starter& starter;
  Watcher& watcher;
  env::Logger log;
  kj::AsyncIoContext io;
  kj::String device;
};

kj::Promise<int> MountProcess::signal() {
  auto number = [](siginfo_t info) { return int(info.si_signo); };
  return io.unixEventPort.onSignal(SIGTERM)
      .then(number)
      .exclusiveJoin(io.unixEventPort.onSignal(SIGINT).then(number))
      .exclusiveJoin(io.unixEventPort.onSignal(SIGHUP).then(number));
}

kj::Own<Filesystem> MountProcess::connectTo(Connect& connect) {
  auto unreachable = [&]() -> kj::Promise<kj::Own<Filesystem>> {
    refuse(kj::str("no metaserver answered at ", command.metaserver.c_str(), " within ",
                   CONNECT_PATIENCE / kj::SECONDS,
                   " seconds. Is it running, is the address right, does a firewall stand between?"));
  };
  auto interrupted = [](int) -> kj::Promise<kj::Own<Filesystem>> {
    refuse(kj::str("told to stop before it was mounted"));
  };
  return connect(io, command, log.named("client"))
      .exclusiveJoin(timer().afterDelay(CONNECT_PATIENCE).then(unreachable))
      .exclusiveJoin(signal().then(interrupted))
      .wait(io.waitScope);
}

void MountProcess::run(Connect& connect) {
  auto filesystem = connectTo(connect);
  SessionOptions options;
  options.handlers = command.handlers;
  options.readAheadKb = command.readAheadKb;
  for (auto& option : command.mountOptions) options.mountOptions.add(kj::str(option.c_str()));
  SessionLoop session(io.unixEventPort, timer(), *filesystem, log, kj::mv(options));

  session.mount(command.mountPoint.c_str());
  KJ_IF_MAYBE (entry, mountAt(command.mountPoint.c_str())) device = kj::mv(entry->device);
  watcher.mounted(device.cStr());
  auto served = session.run().fork();
  session.whenServing()
      .exclusiveJoin(served.addBranch())
      .exclusiveJoin(timer().afterDelay(CONNECT_PATIENCE).then([]() {
        refuse(kj::str("mounted, but the kernel does not speak to us"));
      }))
      .wait(io.waitScope);

  env::PresenceFile pid(command.pidFile, std::to_string(getpid()) + "\n");
  env::PresenceFile ready(command.readyFile, command.mountPoint + "\n");
  log.info("mounted ", command.metaserver.c_str(), " on ", command.mountPoint.c_str(), " (", device,
           ") -> serving");
  starter.mounted(command.logFile);

  auto end = served.addBranch()
                 .then([]() { return End::UNMOUNTED; })
                 .exclusiveJoin(signal().then([this](int number) {
                   log.info("signal ", number, " -> flush and unmount; a second one does not wait");
                   return End::SIGNALLED;
                 }))
                 .wait(io.waitScope);
  if (end == End::SIGNALLED) {
    leave(session, served);
  } else if (session.wasAborted() && isMounted(command.mountPoint.c_str(), device)) {
    log.warning("the connection of ", command.mountPoint.c_str(),
                " to the kernel was aborted -> flush, free the directory and end");
    complain(detachMount(command.mountPoint));
  } else {
    log.info(command.mountPoint.c_str(), " was unmounted -> flush and end");
  }
  flush(*filesystem);
}

void MountProcess::complain(int error) {
  if (error == 0) return;
  log.error(command.mountPoint.c_str(), " could not be unmounted (", strerror(error),
            ") -> it stays without a process. Free it: fusermount3 -uz ", command.mountPoint.c_str());
}

void MountProcess::leave(SessionLoop& session, kj::ForkedPromise<void>& served) {
  // Unmounting writes dirty pages of mappings back, through us: it happens in a thread while the loop serves.
  auto worker = env::newThreadWorker(io.unixEventPort, 1);
  int error = 0;  // of the thread; ours once it is done
  auto unmount = worker->run([path = command.mountPoint, device = kj::str(device), &error]() {
    if (!isMounted(path, device)) return;
    int root = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0) {
      syncfs(root);
      close(root);
    }
    if (removeMount(path) != 0) error = detachMount(path);
  });
  auto fork = unmount.fork();
  enum class Outcome { CLEAN, BUSY, LATE };
  auto outcome = served.addBranch()
                     .then([]() { return Outcome::CLEAN; })
                     .exclusiveJoin(fork.addBranch().then([this, &served]() {
                       // Nobody used it: the kernel hangs up at once. Else it is detached and lives on with
                       // its users.
                       return served.addBranch()
                           .then([]() { return Outcome::CLEAN; })
                           .exclusiveJoin(timer().afterDelay(200 * kj::MILLISECONDS).then([]() {
                             return Outcome::BUSY;
                           }));
                     }))
                     .exclusiveJoin(timer().afterDelay(UNMOUNT_PATIENCE).then([]() { return Outcome::LATE; }))
                     .exclusiveJoin(signal().then([](int) { return Outcome::LATE; }))
                     .wait(io.waitScope);
  if (outcome == Outcome::BUSY && error != 0) {
    complain(error);
  } else if (outcome == Outcome::BUSY) {
    log.warning(command.mountPoint.c_str(), " is still in use -> detached; its users get ENOTCONN");
  } else if (outcome == Outcome::LATE) {
    log.error(command.mountPoint.c_str(), " could not be unmounted in time -> detached without waiting");
    detachMount(command.mountPoint);
  }
  if (outcome != Outcome::CLEAN) {
    served = kj::Promise<void>(kj::READY_NOW).fork();  // reads no more
    session.abandon();                                 // and the thread's system call ends
  }
  fork.addBranch().wait(io.waitScope);
}

void MountProcess::flush(Filesystem& filesystem) {
  filesystem.shutdown()
      .exclusiveJoin(timer().afterDelay(FLUSH_PATIENCE).then([this]() {
        log.error("not everything could be flushed in ", FLUSH_PATIENCE / kj::SECONDS,
                  " s -> writes that were not fsync'ed are lost");
      }))
      .exclusiveJoin(signal().then([this](int) {
        log.error("a second signal -> end without flushing; writes that were not fsync'ed may be lost");
      }))
      .wait(io.waitScope);
}

}  // namespace

int runMount(int argc, const char* const* argv, Connect connect) {
  while (true) {  // started without stdin, stdout or stderr: no descriptor of ours may take their place
    int fd = open("/dev/null", O_RDWR);
    if (fd > STDERR_FILENO) close(fd);
    if (fd < 0 || fd > STDERR_FILENO) break;
  }
  MountCommand command;
  try {
    command = parseMountCommand(argc, argv);
    checkMountPoint(command);
  } catch (const BadCommand& bad) {
    (bad.exitCode == 0 ? std::cout : std::cerr)
        << (bad.exitCode == 0 ? "" : "cairn-fuse: ") << bad.what() << std::endl;
    return bad.exitCode;
  }
  if (command.act == MountCommand::Act::NOTHING) return 0;

  auto starter =
      command.where == MountCommand::Where::BACKGROUND ? Starter::background() : Starter::foreground();
  auto watcher = Watcher::start(command.mountPoint);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) kj::UnixEventPort::captureSignal(number);
  ::signal(SIGPIPE, SIG_IGN);
  raiseLimits();

  int exitCode = 0;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 auto sink = !command.logFile.empty() ? env::newFileSink(command.logFile.c_str())
                             : command.where == MountCommand::Where::FOREGROUND ? env::newStderrSink()
                                                                                : env::newSilentSink();
                 env::Logger log(sink, kj::systemPreciseCalendarClock(), command.logLevel, "fuse");
                 MountProcess process(command, starter, watcher, log);
                 KJ_IF_MAYBE (failure, kj::runCatchingExceptions([&]() { process.run(connect); })) {
                   log.error("cannot go on -> end: ", failure->getDescription());
                   kj::throwFatalException(kj::mv(*failure));
                 }
               })) {
    starter.failed("cairn-fuse: " + std::string(exception->getDescription().cStr()));
    exitCode = 1;
  }
  watcher.finished();
  return exitCode;
}

}  // namespace cairn::fuse
