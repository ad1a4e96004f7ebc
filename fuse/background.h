// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The processes around the one that serves:
// - Starter: whoever called us waits until the file system is mounted, or hears why it is not, in its exit
// code.
// - Watcher: takes the mount away when the serving process dies without doing so (kill -9), so that the mount
// point
//   is an ordinary directory again. The same for root and others, and independent of fusermount's
//   auto_unmount.
// Both are forked before there is an event loop or a thread. Called by main.cc.
#pragma once

#include <sys/types.h>

#include <string>

namespace cairn::fuse {

class Starter {
 public:
  static Starter background();  // forks; the caller's process ends in here with the code that report() gives
  static Starter foreground() { return Starter(); }

  void mounted(const std::string& lastWords);
  // Exit code 0; the process is a daemon from here on. What it says on stderr (why it crashes) goes to the
  // end of this file, when there is one.
  void failed(const std::string& text);  // exit code 1 and the text on stderr

 private:
  Starter() = default;
  int pipe = -1;
};

class Watcher {
 public:
  static Watcher start(const std::string& mountPoint);
  void mounted(const std::string& device);  // MAJOR:MINOR of our mount: only that one is ever taken away
  void finished();                          // unmounted: nothing to watch any more

 private:
  int pipe = -1;
  pid_t process = 0;
};

int detachMount(const std::string& mountPoint);  // lazily, as root or through fusermount3; 0 or an errno
int removeMount(const std::string& mountPoint);  // EBUSY while it is in use

}  // namespace cairn::fuse
