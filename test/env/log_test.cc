// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/log.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>

namespace cairn::env {
namespace {

class HandSetClock final : public kj::Clock {
 public:
  kj::Date time = kj::UNIX_EPOCH;
  kj::Date now() const override { return time; }
};

struct Fixture : testing::Test {
  HandSetClock clock;
  std::string seen;
  std::shared_ptr<LogSink> sink =
      newFunctionSink([this](kj::Date time, LogLevel, kj::StringPtr name, kj::StringPtr text) {
        seen += kj::str((time - kj::UNIX_EPOCH) / kj::SECONDS, " ", name, ": ", text, "\n").cStr();
      });
};

using Log = Fixture;

struct Costly {
  int& uses;
};
kj::String KJ_STRINGIFY(const Costly& costly) {
  costly.uses++;
  return kj::str("costly");
}

TEST_F(Log, LinesCarryTheInjectedTimeAndTheSpeakersName) {
  Logger log(sink, clock, LogLevel::INFO, "chunkd");
  log.info("lease of chunk ", 7, " ended -> refuse writes");
  clock.time += 60 * kj::SECONDS;
  log.named("scrub").warning("block ", 3, " is bad -> quarantine");
  EXPECT_EQ(seen,
            "0 chunkd: lease of chunk 7 ended -> refuse writes\n60 scrub: block 3 is bad -> quarantine\n");
}

TEST_F(Log, ADisabledLineIsNotEvenPutTogether) {
  Logger log(sink, clock, LogLevel::WARNING, "chunkd");
  int uses = 0;
  log.info(Costly{uses});
  EXPECT_EQ(uses, 0);
  log.error(Costly{uses});
  EXPECT_EQ(uses, 1);
  EXPECT_EQ(seen, "0 chunkd: costly\n");
}

TEST_F(Log, LevelNamesAreThoseOfTheManual) {
  EXPECT_TRUE(KJ_ASSERT_NONNULL(parseLogLevel("warning")) == LogLevel::WARNING);
  EXPECT_TRUE(parseLogLevel("verbose") == nullptr);
}

}  // namespace
}  // namespace cairn::env
