"""LinkService: impairments, packet rules, statistics of the links of a lab."""

from __future__ import annotations

from google.protobuf import empty_pb2

from lab.links.link import Link
from lab.server import convert_link, names
from lab.server.convert_link import LinkUpdate
from lab.server.host import LabHost
from lab.server.pages import page
from lab.server.serving import Context
from tcplab.v1 import link_pb2


class LinkService:
    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.lab = host.lab

    def GetLink(self, request: link_pb2.GetLinkRequest, context: Context) -> link_pb2.Link:
        return self._message(self._link(names.parts_of(request)[1]))

    def ListLinks(self, request: link_pb2.ListLinksRequest, context: Context) -> link_pb2.ListLinksResponse:
        links, token = page(self.lab.links.values(), request)
        return link_pb2.ListLinksResponse(links=[self._message(one) for one in links], next_page_token=token)

    def UpdateLink(self, request: link_pb2.UpdateLinkRequest, context: Context) -> link_pb2.Link:
        link = self._link(names.parts_of(request)[1])
        update = LinkUpdate(request)
        update.check(link)
        forward, backward = update.sides["forward"], update.sides["backward"]
        if forward == backward and forward:
            self.lab.update_link(link.name, forward)
        else:
            for direction, changes in zip(link.directions, (forward, backward), strict=True):
                if changes:
                    self.lab.update_link(link.name, changes, direction)
        if update.up is not None:
            self.lab.set_link_up(link.name, update.up)
        return self._message(link)

    def GetLinkStatistics(
        self, request: link_pb2.GetLinkStatisticsRequest, context: Context
    ) -> link_pb2.GetLinkStatisticsResponse:
        forward, backward = self.lab.link_statistics(names.parts_of(request)[1]).values()
        return link_pb2.GetLinkStatisticsResponse(
            forward=convert_link.statistics(forward), backward=convert_link.statistics(backward)
        )

    def CreateRule(self, request: link_pb2.CreateRuleRequest, context: Context) -> link_pb2.Rule:
        link = self._link(names.parts_of(request)[1])
        rule = self.lab.add_rule(link.name, convert_link.rule_spec(request))
        return convert_link.rule(self.host.name, link, rule)

    def ListRules(self, request: link_pb2.ListRulesRequest, context: Context) -> link_pb2.ListRulesResponse:
        link = self._link(names.parts_of(request)[1])
        rules, token = page(self.lab.rules(link.name), request)
        return link_pb2.ListRulesResponse(
            rules=[convert_link.rule(self.host.name, link, one) for one in rules], next_page_token=token
        )

    def DeleteRule(self, request: link_pb2.DeleteRuleRequest, context: Context) -> empty_pb2.Empty:
        _, link, rule = names.parts_of(request)
        self.lab.remove_rule(link, rule)
        return empty_pb2.Empty()

    def _link(self, name: str) -> Link:
        self.lab.rules(name)  # raises NotFound with the names there are
        return self.lab.links[name]

    def _message(self, link: Link) -> link_pb2.Link:
        return convert_link.link(self.host.name, link, self.lab.topology.links[link.name])
