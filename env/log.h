// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The log: one line per decision, `what we saw -> what we do`, with ids. A Logger is passed to constructors
// like any other dependency; there is no global one. INFO = a state change an operator cares about, WARNING =
// we coped, ERROR = a human must look, DEBUG = for whoever works on the code.
//
//   log.info("lease of chunk ", handle, " v", version, " ended -> refuse writes");
//
// Parts are put together as kj::str does, and only if the level is enabled.
#pragma once

#include <kj/function.h>
#include <kj/string.h>
#include <kj/time.h>

#include <memory>

namespace cairn::env {

enum class LogLevel { DEBUG, INFO, WARNING, ERROR, NONE };
kj::Maybe<LogLevel> parseLogLevel(kj::StringPtr text);  // "debug", "info", "warning", "error", "none"

class LogSink {
  // Where lines go. Called in the thread that logs; the sinks made below may be shared by threads.
 public:
  virtual ~LogSink() noexcept(false) = default;
  virtual void write(kj::Date time, LogLevel level, kj::StringPtr name, kj::StringPtr text) = 0;
};

std::shared_ptr<LogSink> newStderrSink();
std::shared_ptr<LogSink> newFileSink(kj::StringPtr path);  // appends
std::shared_ptr<LogSink> newSilentSink();
std::shared_ptr<LogSink> newFunctionSink(
    kj::Function<void(kj::Date, LogLevel, kj::StringPtr name, kj::StringPtr text)> function);  // for tests

class Logger {
  // Cheap to copy: a name for the part of the program that speaks, a level, and where lines go.
 public:
  Logger(std::shared_ptr<LogSink> sink, const kj::Clock& clock, LogLevel level, kj::StringPtr name);
  Logger(const Logger& other);
  Logger(Logger&&) = default;

  static Logger silent();  // of a test that does not look

  Logger named(kj::StringPtr part) const;  // the same log under another name

  bool enabled(LogLevel level) const { return level >= threshold; }

  template <typename... Parts>
  void debug(Parts&&... parts) const {
    line(LogLevel::DEBUG, kj::fwd<Parts>(parts)...);
  }
  template <typename... Parts>
  void info(Parts&&... parts) const {
    line(LogLevel::INFO, kj::fwd<Parts>(parts)...);
  }
  template <typename... Parts>
  void warning(Parts&&... parts) const {
    line(LogLevel::WARNING, kj::fwd<Parts>(parts)...);
  }
  template <typename... Parts>
  void error(Parts&&... parts) const {
    line(LogLevel::ERROR, kj::fwd<Parts>(parts)...);
  }

 private:
  std::shared_ptr<LogSink> sink;
  const kj::Clock& clock;
  LogLevel threshold;
  kj::String name;

  void write(LogLevel level, kj::StringPtr text) const;

  template <typename... Parts>
  void line(LogLevel level, Parts&&... parts) const {
    if (enabled(level)) write(level, kj::str(kj::fwd<Parts>(parts)...));
  }
};

}  // namespace cairn::env
