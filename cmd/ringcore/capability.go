package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringcore/ringcore"
	"github.com/ringcore/ringcore/admin"
)

// Environment variables of tests, which count with testEnv only: what a node says of its
// version, and capabilities that it claims besides its own.
const (
	testVersionEnv      = "RINGCORE_TEST_VERSION"      // as 9.9
	testCapabilitiesEnv = "RINGCORE_TEST_CAPABILITIES" // NAME=NEWEST or NAME=OLDEST-NEWEST, with a ! behind it if lasting; a comma between two
)

// versions fills in what the node says of its version.
func (a *app) versions(cfg *ringcore.Config) error {
	cfg.Version = softwareVersion(thisBuild())
	version, claims := a.getenv(testVersionEnv), a.getenv(testCapabilitiesEnv)
	if version+claims == "" {
		return nil
	}
	if a.getenv(testEnv) != "1" {
		return &failure{
			code: exitRefused, err: errors.New(testVersionEnv + " or " + testCapabilitiesEnv + " is set, with which the node says what it is not"),
			hint: "unset it; for a test, set " + testEnv + "=1 too",
		}
	}
	if version != "" {
		cfg.Version = version
	}
	for claim := range strings.SplitSeq(claims, ",") {
		if claim == "" {
			continue
		}
		k, err := parseCapability(claim)
		if err != nil {
			return usagef("write NAME=NEWEST or NAME=OLDEST-NEWEST", "environment variable %s: %w", testCapabilitiesEnv, err)
		}
		cfg.Capabilities = append(cfg.Capabilities, k)
	}
	return nil
}

func parseCapability(claim string) (k ringcore.Capability, err error) {
	claim, k.Lasting = strings.CutSuffix(claim, "!")
	name, versions, _ := strings.Cut(claim, "=")
	oldest, newest, both := strings.Cut(versions, "-")
	if !both {
		oldest, newest = "0", versions
	}
	var errs [2]error
	k.Name = name
	k.Oldest, errs[0] = strconv.Atoi(oldest)
	k.Newest, errs[1] = strconv.Atoi(newest)
	return k, errors.Join(errs[:]...)
}

// softwareVersion is b as the other members hear of it.
func softwareVersion(b build) string {
	version := strings.Trim(b.Version, "()")
	if version == "devel" && len(b.Revision) >= 8 {
		version += "-" + b.Revision[:8]
	}
	return version
}

func (a *app) clusterCapabilities() *cobra.Command {
	return &cobra.Command{
		Use:   "capabilities",
		Short: "Show what members of different versions can do, and who holds the others back",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, "/v1/capabilities", func(list []admin.CapabilityView) error {
				var rows [][]string
				for _, k := range list {
					var can []string
					for name, version := range k.Members {
						can = append(can, fmt.Sprintf("%s:%d", name, version))
					}
					slices.Sort(can)
					rows = append(rows, []string{k.Name, strconv.Itoa(k.InUse), strconv.Itoa(k.Common), mark(k.Lasting), dash(strings.Join(k.HeldBackBy, ",")), strings.Join(can, ",")})
				}
				return printTable(a.out, "NAME IN-USE COMMON LASTING HELD-BACK-BY MEMBERS", rows)
			})
		},
	}
}
