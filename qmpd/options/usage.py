"""What `--help` prints."""

from __future__ import annotations

USAGE = """\
Usage: qmpd [options]
A storage daemon that speaks QMP.

  -h, --help             show this help and exit
  -V, --version          show the version and exit
  -T, --trace <text>     accepted and ignored

  --chardev socket,id=<id>,path=<path>[,server=on|off][,wait=on|off]
            [,reconnect=<seconds>][,abstract=on|off][,tight=on|off]
  --chardev socket,id=<id>,host=<host>,port=<port>[,to=<port>]
            [,ipv4=on|off][,ipv6=on|off][,server=on|off][,wait=on|off]
            [,reconnect=<seconds>]
  --chardev socket,id=<id>,fd=<number>[,server=on|off][,wait=on|off]
  --chardev stdio|pty|null,id=<id>
  --chardev file,id=<id>,path=<path>[,input-path=<path>][,append=on|off]
  --chardev pipe|serial,id=<id>,path=<path>
  --chardev ringbuf,id=<id>[,size=<size>]
  --chardev udp,id=<id>,port=<port>[,host=<host>]
            [,localaddr=<host>][,localport=<port>][,ipv4=on|off][,ipv6=on|off]
                         make a character device, for a monitor for instance;
                         all take [,logfile=<path>][,logappend=on|off]
  --chardev help         list their types
  --monitor [chardev=]<id>[,mode=control][,pretty=on|off]
                         serve QMP on a character device
  --qmp unix:<path>[,server=on|off][,wait=on|off]
  --qmp tcp:<host>:<port>[,server=on|off][,wait=on|off]
                         both of the above in one
  --blockdev [driver=]<driver>[,node-name=<name>][,<key>=<value>...] | <JSON>
                         add a block node
  --drive [file=]<file>[,if=none|virtio|ide|scsi|...][,id=<id>][,format=<driver>]
          [,node-name=<name>][,readonly=on|off][,snapshot=on|off]
          [,cache=writeback|none|writethrough|directsync|unsafe]
          [,aio=threads|native][,discard=ignore|unmap]
          [,detect-zeroes=off|on|unmap][,copy-on-read=on|off][,media=disk|cdrom]
          [,werror=<policy>][,rerror=<policy>][,index=<n>][,bus=<n>][,unit=<n>]
          [,throttling.<limit>=<n>...][,<key>=<value>...]
                         make a drive, and open what is in it
  --device [driver=]<kind>[,drive=<drive or node>][,id=<id>][,<property>=<value>...]
           | <JSON>
  --device help | <kind>,help
                         make a device, the guest's side of a drive or node; list the
                         kinds, or a kind's properties
  --object [qom-type=]<type>,id=<id>[,<property>=<value>...] | <JSON>
  --object help | <type>,help
                         make an object; list the types, or a type's properties
  --nbd-server addr.type=unix,addr.path=<path>[,max-connections=<number>]
  --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>[,...]
                         start the NBD server
  --export [type=]nbd,id=<id>,node-name=<name>[,name=<name>][,writable=on|off]
                         export a block node
  --state-dir <directory>
                         keep nodes, exports, bitmaps, jobs and events in a
                         directory; at this place among the options, make again
                         what the last run had
  --catalog <URL>        keep them in PostgreSQL (postgresql://...) instead of a
                         file in the state directory
  --catalog-replica <URL>
                         a standby of that database, for queries
  --daemonize            go to the background once everything is up
  --pidfile <path>       write the process id to a file, and lock it

Options that build something are carried out in the order in which they stand.
"""
