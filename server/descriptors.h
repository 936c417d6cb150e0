#ifndef LEAPSTREAM_SERVER_DESCRIPTORS_H_
#define LEAPSTREAM_SERVER_DESCRIPTORS_H_

namespace leapstream {

// Raises the soft limit of descriptors to the hard one, but not above budget::kMaxDescriptors. No
// system call that this program makes is bound to the usual soft limit of 1,024. To be called
// before any thread starts.
void RaiseDescriptorLimit();

// How the descriptors of this process are shared out. The kernel gives each new descriptor the
// lowest number that is free, so the number of a new connection says how many are left.
struct DescriptorPlan {
  int limit = 0;           // All descriptors of this process.
  int connections = 0;     // Connections to the gRPC port have numbers below this one.
  int administrators = 0;  // Connections to the admin port have numbers below this one.
  int http = 0;            // The most connections that the HTTP port has at once.
  int sessions = 0;        // Connections to the gRPC port that there is still room for.
};

// The plan for the present limit and the descriptors that are open now.
DescriptorPlan PlanDescriptors();
// The plan for a process that may have `limit` descriptors and has `open` of them open.
DescriptorPlan PlanDescriptors(int limit, int open);

// The number of descriptors that this process has open; 0: unknown.
int OpenDescriptors();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_DESCRIPTORS_H_
