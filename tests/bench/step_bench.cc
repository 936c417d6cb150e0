// Time of one step (one source token read and one target token decided per session) of a model, for
// several batch sizes. Usage: step_bench [MODEL_DIRECTORY]. Prints its conditions.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include "model/torch/load_model.h"
#include "tests/bench/thread_time.h"

int main(int argc, char** argv) {
  using namespace leapstream;
  at::set_num_threads(1);
  const std::string directory = argc > 1 ? argv[1] : "model/pretrained/en-de";
  auto model = LoadModel(directory);
  if (!model.ok()) {
    std::fprintf(stderr, "step_bench: %s\n", std::string(model.status().message()).c_str());
    return 1;
  }
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string cpu;
  while (std::getline(cpuinfo, cpu) && cpu.rfind("model name", 0) != 0) {
  }
  std::printf("%s, %s, 1 thread, its CPU time, %s\n", directory.c_str(),
              (*model)->info.compute_type.c_str(), cpu.c_str());
  std::printf("state: %.0f KB per session\n", (*model)->info.state_bytes_per_session / 1e3);
  std::printf("%9s %9s %14s %14s %12s\n", "sessions", "position", "ms per step", "ms per token",
              "tokens/s");
  const Translator& translator = *(*model)->translator;
  for (const int sessions : {1, 8, 32}) {
    std::vector<std::unique_ptr<SessionState>> states;
    std::vector<SessionState*> pointers;
    std::vector<SourceRows> rows;
    const TokenId token = 100;
    for (int i = 0; i < sessions; ++i) {
      states.push_back(translator.NewState());
      pointers.push_back(states.back().get());
      rows.push_back({pointers.back(), absl::MakeConstSpan(&token, 1)});
    }
    std::vector<Decision> decisions(sessions);
    int position = 0;
    for (const int until : {64, 512}) {
      std::vector<double> times;
      for (; position < until; ++position) {
        const double start = ThreadSeconds();
        absl::Status status = translator.Read(rows);
        if (status.ok()) status = translator.Decide(pointers, absl::MakeSpan(decisions));
        times.push_back(1e3 * (ThreadSeconds() - start));
        if (!status.ok()) {
          std::fprintf(stderr, "step_bench: %s\n", std::string(status.message()).c_str());
          return 1;
        }
        for (SessionState* state : pointers) state->Commit(token);
      }
      std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
      const double median = times[times.size() / 2];
      std::printf("%9d %9d %14.3f %14.4f %12.0f\n", sessions, until, median, median / sessions,
                  1000 * sessions / median);
    }
  }
  return 0;
}
