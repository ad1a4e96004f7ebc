// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "env/log.h"

#include <kj/debug.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>

namespace cairn::env {

namespace {

spdlog::level::level_enum spdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::DEBUG:
      return spdlog::level::debug;
    case LogLevel::INFO:
      return spdlog::level::info;
    case LogLevel::WARNING:
      return spdlog::level::warn;
    case LogLevel::ERROR:
      return spdlog::level::err;
    case LogLevel::NONE:
      return spdlog::level::off;
  }
  KJ_UNREACHABLE;
}

class SpdlogSink final : public LogSink {
 public:
  explicit SpdlogSink(spdlog::sink_ptr sink) : sink(std::move(sink)) {
    this->sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %L %-10n %v");
  }

  void write(kj::Date time, LogLevel level, kj::StringPtr name, kj::StringPtr text) override {
    auto sinceEpoch = std::chrono::nanoseconds((time - kj::UNIX_EPOCH) / kj::NANOSECONDS);
    auto at =
        spdlog::log_clock::time_point(std::chrono::duration_cast<spdlog::log_clock::duration>(sinceEpoch));
    spdlog::details::log_msg message(at, spdlog::source_loc{},
                                     spdlog::string_view_t(name.begin(), name.size()), spdlogLevel(level),
                                     spdlog::string_view_t(text.begin(), text.size()));
    sink->log(message);
    if (level >= LogLevel::INFO) sink->flush();  // decisions are few, and the last one before a crash matters
  }

 private:
  spdlog::sink_ptr sink;
};

class FunctionSink final : public LogSink {
 public:
  using Function = kj::Function<void(kj::Date, LogLevel, kj::StringPtr, kj::StringPtr)>;
  explicit FunctionSink(Function function) : function(kj::mv(function)) {}
  void write(kj::Date time, LogLevel level, kj::StringPtr name, kj::StringPtr text) override {
    function(time, level, name, text);
  }

 private:
  Function function;
};

}  // namespace

kj::Maybe<LogLevel> parseLogLevel(kj::StringPtr text) {
  if (text == "debug") return LogLevel::DEBUG;
  if (text == "info") return LogLevel::INFO;
  if (text == "warning") return LogLevel::WARNING;
  if (text == "error") return LogLevel::ERROR;
  if (text == "none") return LogLevel::NONE;
  return nullptr;
}

std::shared_ptr<LogSink> newStderrSink() {
  return std::make_shared<SpdlogSink>(std::make_shared<spdlog::sinks::stderr_sink_mt>());
}

std::shared_ptr<LogSink> newFileSink(kj::StringPtr path) {
  return std::make_shared<SpdlogSink>(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.cStr()));
}

std::shared_ptr<LogSink> newFunctionSink(
    kj::Function<void(kj::Date, LogLevel, kj::StringPtr, kj::StringPtr)> function) {
  return std::make_shared<FunctionSink>(kj::mv(function));
}

std::shared_ptr<LogSink> newSilentSink() {
  return newFunctionSink([](kj::Date, LogLevel, kj::StringPtr, kj::StringPtr) {});
}

Logger::Logger(std::shared_ptr<LogSink> sink, const kj::Clock& clock, LogLevel level, kj::StringPtr name)
    : sink(std::move(sink)), clock(clock), threshold(level), name(kj::str(name)) {}

Logger::Logger(const Logger& other)
    : sink(other.sink), clock(other.clock), threshold(other.threshold), name(kj::str(other.name)) {}

Logger Logger::silent() {
  return Logger(newSilentSink(), kj::nullClock(), LogLevel::NONE, "silent");
}

Logger Logger::named(kj::StringPtr part) const {
  return Logger(sink, clock, threshold, part);
}

void Logger::write(LogLevel level, kj::StringPtr text) const {
  sink->write(clock.now(), level, name, text);
}

}  // namespace cairn::env
