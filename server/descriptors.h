#ifndef LEAPSTREAM_SERVER_DESCRIPTORS_H_
#define LEAPSTREAM_SERVER_DESCRIPTORS_H_

namespace leapstream {

// Raises the soft limit of descriptors to the hard one: no call of ours is bounded by the usual
// 1,024. To be called before any thread starts.
void RaiseDescriptorLimit();

// How the descriptors of this process are shared out. Connections get the lowest numbers, so that
// the number of a new one says how many are left.
struct DescriptorPlan {
  int limit = 0;         // Of this process.
  int connections = 0;   // A connection to the gRPC port has a number below this one,
  int administrators = 0;  // and one to the admin port below this one.
  int http = 0;          // Connections to the HTTP port at once.
  int sessions = 0;      // Connections that there is room for beside what is open now.
};

// For the limit that holds now.
DescriptorPlan PlanDescriptors();
// The same for a limit, and so many descriptors that are open.
DescriptorPlan PlanDescriptors(int limit, int open);

// How many this process has open; 0: unknown.
int OpenDescriptors();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_DESCRIPTORS_H_
