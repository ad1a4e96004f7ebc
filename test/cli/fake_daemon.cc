// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// A daemon as the supervisor sees one: writes its ready file, then waits for SIGTERM. With --deaf as its
// first word it ignores that, as a hung daemon does.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

int main(int count, char** words) {
  bool deaf = count > 1 && std::strcmp(words[1], "--deaf") == 0;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  for (int i = 1; i + 1 < count; ++i) {
    if (std::strcmp(words[i], "--ready-file") != 0) continue;
    std::string path = words[i + 1], fresh = path + ".new";
    FILE* file = std::fopen(fresh.c_str(), "w");
    if (file == nullptr) return 1;
    std::fputs("127.0.0.1:1\n", file);
    std::fclose(file);
    std::rename(fresh.c_str(), path.c_str());
  }
  do {
    int number = 0;
    sigwait(&signals, &number);
  } while (deaf);
  return 0;
}
