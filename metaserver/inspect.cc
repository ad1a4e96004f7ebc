// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See inspect.h.
#include "metaserver/inspect.h"

#include <kj/debug.h>
#include <kj/filesystem.h>
#include <unistd.h>

#include <iostream>

namespace cairn {

int inspectDirectory(kj::StringPtr directory, InspectFormat format) {
  auto filesystem = kj::newDiskFilesystem();
  auto path = filesystem->getCurrentPath().evalNative(directory);
  auto found = filesystem->getRoot().tryOpenSubdir(path);
  KJ_IF_MAYBE (opened, found) {
    auto identity = (*opened)->tryOpenFile(kj::Path("IDENTITY"));
    auto log = (*opened)->tryOpenSubdir(kj::Path("log"));
    KJ_REQUIRE(identity != nullptr && log != nullptr,
               kj::str(directory, " is no metaserver directory: it has no IDENTITY or no log"));
    KJ_IF_MAYBE (file, identity) {
      if (format == InspectFormat::TEXT) std::cout << (*file)->readAllText().cStr() << std::flush;
    }
    kj::FdOutputStream out(STDOUT_FILENO);
    KJ_IF_MAYBE (segments, log) {
      inspectMetadata(**segments, kj::str(directory, "/names"), nullptr, format, out);
    }
    return 0;
  }
  KJ_FAIL_REQUIRE(kj::str(directory, " is no directory"));
}

}  // namespace cairn
