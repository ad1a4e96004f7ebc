// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Whether the answers of calls that overlapped in time can be explained by some order of the calls: each call
// takes effect at one moment between its begin and its end (Herlihy and Wing, "Linearizability", 1990). A
// search in depth, event by event, that remembers where it has been, as Wing and Gong, "Testing and verifying
// concurrent objects" (1993), with the memory of Lowe, "Testing for linearizability" (2017): calls are put in
// order no earlier than an answer needs them, and an order is taken back when a later answer does not fit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace cairn::test {

// What a Model gives:
//   struct State            with operator== ; the initial one is `State()`
//   struct Call             with `begin` and `end` in one clock
//   std::vector<State> apply(const State&, const Call&) const
//                           what may be after the call, if it may answer as it did in this state; else none
//   bool onlyLooks(const Call&) const
//                           an order that has it earlier explains no less: it takes effect as soon as it can
//   void ended(State&, const Call&) const
//                           it has returned in every explanation: what nobody asks about may go
//   size_t hash(const State&) const
template <typename Model>
class Linearizability {
 public:
  using State = typename Model::State;
  using Call = typename Model::Call;

  struct Configuration {
    State state;
    std::vector<uint32_t> done;  // of the calls that have not returned: those that have taken effect, sorted
    bool operator==(const Configuration&) const = default;
  };
  struct Violation {
    size_t call;                                // the answer up to which no order leads further
    bool certain;                               // false: the search was given up, after `limit` steps
    std::vector<uint32_t> pending;              // what overlapped with its end, itself included
    std::vector<Configuration> configurations;  // what explains everything before it (some)
  };

  explicit Linearizability(Model model = {}) : model(std::move(model)) {}

  // `calls` in any order. Nothing: some order explains all answers.
  std::optional<Violation> check(const std::vector<Call>& calls, size_t limit = 300'000) {
    auto events = eventsOf(calls);
    std::vector<std::vector<uint32_t>> pending(
        events.size());  // at each event; of an end, that call included
    for (size_t i = 0; i < events.size(); ++i) {
      if (i > 0) pending[i] = pending[i - 1];
      if (i > 0 && events[i - 1].end) std::erase(pending[i], events[i - 1].call);
      if (!events[i].end) pending[i].push_back(events[i].call);
    }

    struct Frame {
      // At the end of a call: the ways to get there, shortest first, found as they are needed.
      size_t event;
      std::deque<Configuration> open;
      Set seen;
    };
    std::vector<Frame> frames;
    std::unordered_map<size_t, Set> visited;  // by event
    Violation violation{};
    size_t deepest = 0;
    steps = 0;

    Configuration now;
    size_t at = 0;
    for (;;) {
      // Forward to the next end, with all that only looks done as soon as it can be.
      for (; at < events.size() && !events[at].end; ++at) takeLook(now, events[at].call, calls);
      if (at == events.size()) return std::nullopt;
      if (at >= deepest) {
        if (at > deepest) violation = {events[at].call, true, pending[at], {}};
        deepest = at;
        if (violation.configurations.size() < 100) violation.configurations.push_back(now);
      }
      if (visited.try_emplace(at, 4, Hash{&model}).first->second.insert(now).second) {
        Frame frame{at, {}, Set(4, Hash{&model})};
        frame.open.push_back(std::move(now));
        frames.push_back(std::move(frame));
      }
      // On from the last frame that has a way left.
      for (bool found = false; !found;) {
        while (!frames.empty() && frames.back().open.empty()) frames.pop_back();
        if (frames.empty()) return violation;
        auto& frame = frames.back();
        auto call = events[frame.event].call;
        auto configuration = std::move(frame.open.front());
        frame.open.pop_front();
        if (auto done = std::find(configuration.done.begin(), configuration.done.end(), call);
            done != configuration.done.end()) {
          configuration.done.erase(done);
          model.ended(configuration.state, calls[call]);
          now = std::move(configuration);
          at = frame.event + 1;
          found = true;
          continue;
        }
        if (++steps > limit) {
          violation.certain = false;
          return violation;
        }
        auto& under = pending[frame.event];
        for (size_t i = 0; i < under.size(); ++i) {
          // The call itself first.
          auto next = i == 0 ? call : under[i - 1] == call ? under.back() : under[i - 1];
          if (i > 0 && next == call) continue;
          extend(configuration, next, under, calls, frame.seen, frame.open);
        }
      }
    }
  }

  size_t stepsTaken() const { return steps; }

 private:
  struct Hash {
    const Model* model;
    size_t operator()(const Configuration& configuration) const {
      auto hash = model->hash(configuration.state);
      for (auto call : configuration.done) hash = (hash ^ call) * 0x9E3779B97F4A7C15u;
      return hash;
    }
  };
  using Set = std::unordered_set<Configuration, Hash>;
  struct Event {
    uint64_t time;
    bool end;
    uint32_t call;
  };

  static std::vector<Event> eventsOf(const std::vector<Call>& calls) {
    // Of one moment the begins come first: what may have overlapped is taken to have.
    std::vector<Event> events;
    for (uint32_t i = 0; i < calls.size(); ++i) {
      events.push_back({calls[i].begin, false, i});
      events.push_back({calls[i].end, true, i});
    }
    std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
      return a.time != b.time ? a.time < b.time : a.end != b.end ? b.end : a.call < b.call;
    });
    return events;
  }

  void extend(const Configuration& from, uint32_t call, const std::vector<uint32_t>& pending,
              const std::vector<Call>& calls, Set& seen, std::deque<Configuration>& open) const {
    // By one call that takes effect now.
    if (std::binary_search(from.done.begin(), from.done.end(), call)) return;
    for (auto& state : model.apply(from.state, calls[call])) {
      Configuration next{std::move(state), from.done};
      insert(next.done, call);
      for (auto look : pending) takeLook(next, look, calls);
      if (seen.insert(next).second) open.push_back(std::move(next));
    }
  }
  static void insert(std::vector<uint32_t>& sorted, uint32_t call) {
    sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), call), call);
  }
  void takeLook(Configuration& configuration, uint32_t call, const std::vector<Call>& calls) const {
    // A call that only looks, and may answer as it did here, has done so here: every order that has it later
    // remains one.
    if (!model.onlyLooks(calls[call]) ||
        std::binary_search(configuration.done.begin(), configuration.done.end(), call)) {
      return;
    }
    auto looked = model.apply(configuration.state, calls[call]);
    if (looked.empty()) return;
    configuration.state = std::move(looked.front());
    insert(configuration.done, call);
  }

  Model model;
  size_t steps = 0;
};

}  // namespace cairn::test
