package ringcore

import "runtime/debug"

// Version is the module's version as it was built, "devel" from a checkout.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if info.Main.Path == "github.com/ringcore/ringcore" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/ringcore/ringcore" {
			return d.Version
		}
	}
	return "devel"
}
